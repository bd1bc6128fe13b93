"""Writes through other doors of Django's: its admin, fixtures, migrations, generic relations, receivers, coroutines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asgiref.sync import async_to_sync
from django.apps import apps
from django.core import serializers
from django.core.management import call_command
from django.db import connections, migrations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import F, Model
from django.db.models.signals import ModelSignal, m2m_changed, post_delete, post_save, pre_delete, pre_save

from tests.app.catalog import Article, Cafe, Detail, Item, ItemTag, Note, Venue
from tests.orm.back_office import post
from tests.orm.world import MODEL, name
from tests.orm.writes import COMMIT, ROLLBACK, ROWS, SQLITE, Expected, Form, changed, of, pks, raw

Migrated = tuple[Callable[..., Any], Mapping[type[Model], Expected]]
"""What is executed, and what is expected of it."""

# --- migrations


@cache
def _project() -> ProjectState:
    """Every model as migrations know it."""
    state = ProjectState.from_apps(apps)
    state.apps  # noqa: B018  made once, for all that clone it
    return state


def migrate(db: str, *operations: Operation, is_atomic: bool = True) -> None:
    """Apply one migration, as ``migrate`` does."""
    migration = migrations.Migration("0002_test", "app")
    migration.operations = list(operations)
    migration.atomic = is_atomic
    state = _project().clone()
    with connections[db].schema_editor(atomic=is_atomic) as editor:
        migration.apply(state, editor)


def by_migration(code: Callable[..., Any], db: str, *rows: Model, is_atomic: bool = True) -> None:
    """RunPython. The code is given the historical models' rows of a database, by name, and what more it asked for."""

    def run(historical: Any, editor: Any) -> None:
        alias = editor.connection.alias
        code(lambda model: historical.get_model("app", model).objects.using(alias), *(row.pk for row in rows))

    migrate(db, migrations.RunPython(run), is_atomic=is_atomic)


def _renamed(rows: Any, pk: int) -> None:
    row = rows("Item").get(pk=pk)
    assert type(row) is not Item
    row.name = "new"
    row.save()


# --- fixtures


def load(db: str, *rows: Model) -> None:
    """``manage.py loaddata``."""
    with TemporaryDirectory() as directory:
        fixture = Path(directory) / "rows.json"
        fixture.write_text(serializers.serialize("json", rows))
        call_command("loaddata", str(fixture), database=db, verbosity=0)


# --- receivers


@contextmanager
def receiving(signal: ModelSignal, sender: Any, act: Callable[..., object]) -> Iterator[None]:
    """A receiver of the user's."""

    def receive(sender: Any, **kwargs: Any) -> None:
        act(**kwargs)

    signal.connect(receive, sender=sender)
    try:
        yield
    finally:
        signal.disconnect(receive, sender=sender)


def with_receiver(signal: ModelSignal, sender: Any, react: Callable[..., object], act: Callable[..., object]) -> None:
    """Write while somebody listens."""
    with receiving(signal, sender, react):
        act()


def _counted(db: str, pk: int) -> None:
    raw(db, "UPDATE app_item SET stock = stock + 1 WHERE id = %s", pk)


def _counted_by_condition(db: str, text: str) -> None:
    raw(db, "UPDATE app_item SET stock = stock + 1 WHERE name = %s", text)


DOOR_FORMS: dict[str, Form] = {
    # --- generic relations
    "generic foreign key created": Form(lambda db, subject: of(Note, db).create(about=subject), {Note: ROWS}),
    "generic foreign key saved": Form(lambda note, subject2: changed(note, about=subject2).save(), {Note: ROWS}),
    "generic add": Form(lambda subject2, note: subject2.notes.add(note), {Note: ROWS}),
    "generic add one by one": Form(lambda subject2, note: subject2.notes.add(note, bulk=False), {Note: ROWS}),
    "generic set": Form(lambda db, subject, note, note2: subject.notes.set([note2]), {Note: ROWS}),
    "generic set cleared": Form(
        lambda subject, note, note2: subject.notes.set([note2], clear=True), {Note: pks("note", "note2")}
    ),
    "generic remove": Form(lambda subject, note, note2: subject.notes.remove(note), {Note: ROWS}),
    "generic remove one by one": Form(
        lambda subject, note, note2: subject.notes.remove(note, bulk=False), {Note: ROWS}
    ),
    "generic clear": Form(lambda subject, note, note2: subject.notes.clear(), {Note: ROWS}),
    "generic create": Form(lambda subject: subject.notes.create(text="new"), {Note: ROWS}),
    "generic update": Form(lambda subject, note: subject.notes.update(text="new"), {Note: MODEL}),
    "generic update_or_create": Form(
        lambda subject, note: subject.notes.update_or_create(pk=note.pk, defaults={"text": "new"}), {Note: ROWS}
    ),
    "generic CASCADE": Form(lambda subject, note, note2: subject.delete(), {Note: ROWS}),
    # --- admin
    "admin adds": Form(
        lambda db, free_code: post(db, "add/", name="new", slug=free_code, stock=1, **_inlines()), {Item: ROWS}
    ),
    "admin changes": Form(
        lambda db, item: post(db, f"{item.pk}/change/", name="new", slug=item.slug, stock=1, **_inlines()),
        {Item: ROWS},
    ),
    "admin changes with an inline": Form(
        lambda db, item, link, tag2: post(
            db,
            f"{item.pk}/change/",
            name="new",
            slug=item.slug,
            stock=1,
            **_inlines(
                {"id": link.pk, "item": item.pk, "tag": link.tag_id, "weight": 5},
                {"item": item.pk, "tag": tag2.pk, "weight": 6},
                first=1,
            ),
        ),
        {Item: ROWS, ItemTag: ROWS},
    ),
    "admin changes in the list": Form(
        lambda db, item: post(
            db,
            f"?id={item.pk}",
            _save="Save",
            **{"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": item.pk, "form-0-stock": 7},
        ),
        {Item: ROWS},
    ),
    "admin deletes": Form(
        lambda db, item, link: post(db, f"{item.pk}/delete/", post="yes"), {Item: ROWS, ItemTag: ROWS}
    ),
    "admin deletes what is selected": Form(
        lambda db, item, other: post(
            db, "", action="delete_selected", _selected_action=[item.pk, other.pk], post="yes"
        ),
        {Item: ROWS},
    ),
    # --- fixtures
    "loaddata updates": Form(
        lambda db, item, other: load(db, changed(item, name="new"), other), {Item: pks("item", "other")}
    ),
    "loaddata inserts": Form(lambda db, free: load(db, Item(pk=free, slug=name())), {Item: ROWS}),
    "loaddata of an inherited child": Form(lambda db, cafe: load(db, changed(cafe, seats=7)), {Cafe: ROWS}),
    "loaddata of a plain parent": Form(
        lambda db, cafe: load(db, changed(of(Venue, db).get(pk=cafe.pk), name="new")), {Cafe: ROWS}
    ),
    "loaddata of many to many": Form(
        lambda db, item, label: (item.labels.add(label), load(db, changed(item, name="new"))), {Item: ROWS}
    ),
    # --- receivers
    "raw SQL in post_save of the same row": Form(
        lambda db, item: with_receiver(
            post_save, Item, lambda instance, **_: _counted(db, instance.pk), changed(item, name="new").save
        ),
        {Item: ROWS},
    ),
    "raw SQL in post_save of a new row": Form(
        lambda db: with_receiver(
            post_save, Item, lambda instance, **_: _counted(db, instance.pk), lambda: of(Item, db).create()
        ),
        {Item: ROWS},
    ),
    "raw SQL in post_save of another row": Form(
        lambda db, item, other: with_receiver(
            post_save, Item, lambda **_: _counted(db, other.pk), changed(item, name="new").save
        ),
        {Item: ROWS},
    ),
    "raw SQL in post_save by a condition": Form(
        lambda db, item, other: with_receiver(
            post_save, Item, lambda **_: _counted_by_condition(db, other.name), changed(item, stock=5).save
        ),
        {Item: MODEL},
        modes=(COMMIT, ROLLBACK),
    ),
    "raw SQL in pre_save of the same row": Form(
        lambda db, item: with_receiver(
            pre_save, Item, lambda instance, **_: _counted(db, instance.pk), changed(item, stock=F("stock") + 1).save
        ),
        {Item: ROWS},
    ),
    "raw SQL in pre_delete of another row": Form(
        lambda db, item, other: with_receiver(pre_delete, Item, lambda **_: _counted(db, other.pk), item.delete),
        {Item: ROWS},
    ),
    "raw SQL in post_delete of another row": Form(
        lambda db, item, other: with_receiver(
            post_delete, Item, lambda **_: _counted(db, other.pk), of(Item, db).filter(pk=item.pk).delete
        ),
        {Item: ROWS},
    ),
    "raw SQL in m2m_changed": Form(
        lambda db, item, tag: with_receiver(
            m2m_changed, ItemTag, lambda instance, **_: _counted(db, instance.pk), lambda: item.tags.add(tag)
        ),
        {Item: ROWS, ItemTag: ROWS},
    ),
    "a receiver saves the same row again": Form(
        lambda db, article: with_receiver(
            post_save,
            Article,
            lambda instance, **_: of(Article, db).filter(pk=instance.pk).update(stamp="newer"),
            changed(article, stamp="new").save,
        ),
        {Article: ROWS},
    ),
    # --- coroutines
    "asave": Form(lambda item: async_to_sync(changed(item, name="new").asave)(), {Item: ROWS}),
    "acreate": Form(lambda db: async_to_sync(of(Item, db).acreate)(name="new"), {Item: ROWS}),
    "aupdate": Form(lambda db, item: async_to_sync(of(Item, db).filter(pk=item.pk).aupdate)(name="new"), {Item: ROWS}),
    "adelete": Form(lambda item: async_to_sync(item.adelete)(), {Item: ROWS}),
}

_MIGRATED: dict[str, Migrated] = {
    "RunPython saves": (lambda db, item: by_migration(_renamed, db, item), {Item: ROWS}),
    "RunPython creates": (
        lambda db: by_migration(lambda rows: rows("Item").create(name="new", slug=name()), db),
        {Item: ROWS},
    ),
    "RunPython creates in bulk": (
        lambda db: by_migration(lambda rows: rows("Item").bulk_create([rows("Item").model(slug=name())]), db),
        {Item: ROWS},
    ),
    "RunPython updates by pk": (
        lambda db, item: by_migration(lambda rows, pk: rows("Item").filter(pk=pk).update(name="new"), db, item),
        {Item: ROWS},
    ),
    "RunPython updates by condition": (
        lambda db, item: by_migration(lambda rows, pk: rows("Item").exclude(name="new").update(name="new"), db, item),
        {Item: MODEL},
    ),
    "RunPython deletes": (
        lambda db, item, link, detail: by_migration(lambda rows, pk: rows("Item").get(pk=pk).delete(), db, item),
        {Item: ROWS, ItemTag: MODEL, Detail: ROWS},
    ),
    "RunPython CASCADE": (
        lambda db, maker, of_maker: by_migration(lambda rows, pk: rows("Maker").get(pk=pk).delete(), db, maker),
        {Item: ROWS, ItemTag: MODEL, Detail: pks("of_maker")},
    ),
    "RunPython saves an inherited child": (
        lambda db, cafe: by_migration(
            lambda rows, pk: changed(rows("Cafe").get(pk=pk), name="new", seats=7).save(), db, cafe
        ),
        {Cafe: ROWS},
    ),
    "RunPython without a transaction": (
        lambda db, item: by_migration(_renamed, db, item, is_atomic=False),
        {Item: ROWS},
    ),
    "RunSQL": (
        lambda db, item: migrate(
            db, migrations.RunSQL([("UPDATE app_item SET name = 'new' WHERE id = %s", [item.pk])])
        ),
        {Item: ROWS},
    ),
}


def migration_forms(migrated: Mapping[str, Migrated], **options: Any) -> dict[str, Form]:
    """On SQLite the schema editor refuses to work inside another transaction than its own."""
    return {title: Form(act, expected, alone_on=SQLITE, **options) for title, (act, expected) in migrated.items()}


DOOR_FORMS |= migration_forms(_MIGRATED)


def _inlines(*rows: dict[str, Any], first: int = 0) -> dict[str, Any]:
    """What a browser sends for the inlines: ``first`` of them were there."""
    prefix = "itemtag_set"
    sent = {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": first}
    return sent | {f"{prefix}-{at}-{field}": value for at, row in enumerate(rows) for field, value in row.items()}

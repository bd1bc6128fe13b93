"""Every way to write, executed for real: its keys are placed before COMMIT, and no reader sees the old row after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.db.models import Model

from django_cacheaside.failpoints import armed
from django_cacheaside.orm.databases import identity
from django_cacheaside.orm.registry import registry
from tests.app.catalog import Item
from tests.orm.world import MODEL, Elsewhere, Server, World, ident, in_cache, in_database, name
from tests.orm.writes import AUTOCOMMIT, COMMIT, FORMS, ROLLBACK, ROWS, Form, cases, changed, raw


class Undo(Exception):  # noqa: N818  no error
    """Rolls a transaction back."""


class Watch:
    """One run of one form: what was there before, what the server was told, what is there after."""

    def __init__(self, form: Form, db: str, server: Server, elsewhere: Elsewhere) -> None:
        self.world = World(db)
        self.db = db
        self.server = server
        self.elsewhere = elsewhere
        self.arguments = self.world.prepared_for(form.act)
        self.expected = form.expects(db)
        prepared = {type(row) for row in self.arguments.values() if isinstance(row, Model)}
        asked = [*self.expected, *(model._meta.concrete_model for model in prepared)]
        self.models = [model for model in dict.fromkeys(asked) if registry.get(model) and model.__name__ in _WATCHED]
        self.told: set[tuple[str, str, str]] = set()

    def warm(self) -> None:
        """Fill the rows concerned, those that are missing included; see that the server holds them."""
        self.pks = {model: self.world.concerned(model) for model in self.models}
        self.server.empty()
        for model, pks in self.pks.items():
            self.elsewhere(in_cache, model, self.db, pks)
            if len(model._meta.pk_fields) == 1:
                assert self.server.warm_rows(model, self.db) == {ident(model, self.db, pk) for pk in pks}
        self.before = {model: in_database(model, self.db) for model in self.models}

    def run(self, act: Callable[..., Any]) -> None:
        """Execute the form; note the intents that stand at each COMMIT."""
        with armed("after-intent", lambda: self.told.update(self.server.intents())):
            act(**self.arguments)

    def changed(self, model: type[Model]) -> set[Any]:
        """The rows that are different in the database now."""
        before, after = self.before[model], in_database(model, self.db)
        return {pk for pk in before.keys() | after.keys() if before.get(pk) != after.get(pk)}

    def keys_expected(self) -> set[tuple[str, str, str]]:
        """What the server should have been told."""
        here = identity(connections[self.db])
        keys = set()
        for model, what in self.expected.items():
            if what == MODEL:
                keys.add((model._meta.label_lower, here, MODEL))
                continue
            rows = self.changed(model) if what == ROWS else what(self.world)
            assert rows, f"the form changed no {model.__name__}"
            keys.update((model._meta.label_lower, here, ident(model, self.db, pk)) for pk in rows)
        return keys

    def assert_served_as_in_database(self, *, here: bool = False) -> None:
        """Each row concerned is read as the database has it: by another thread, or by this one."""
        for model, pks in self.pks.items():
            read = (lambda function, *args: function(*args)) if here else self.elsewhere
            assert read(in_cache, model, self.db, pks) == read(in_database, model, self.db, pks)

    def assert_served_as_before(self) -> None:
        """Nobody else sees what is not committed. Reads nothing but the cache: a TRUNCATE locks the table."""
        for model, pks in self.pks.items():
            if len(model._meta.pk_fields) == 1:
                before = {pk: row for pk, row in self.before[model].items() if pk in pks}
                assert self.elsewhere(in_cache, model, self.db, pks) == before


# models whose rows are compared; of a form that takes every model only the keys are
_WATCHED = frozenset(
    [
        "Item",
        "ItemTag",
        "Detail",
        "Cafe",
        "Vehicle",
        "Truck",
        "Ledger",
        "LedgerTwin",
        "Article",
        "Parcel",
        "Country",
        "Flag",
        "Serial",
        "Seat",
        "Timed",
        "Leaf",
        "Bird",
    ]
)


@pytest.fixture
def watch(databases: None, server: Server, elsewhere: Elsewhere) -> Callable[[Form, str], Watch]:
    """Prepare a run."""
    return lambda form, db: Watch(form, db, server, elsewhere)


@pytest.mark.parametrize(("form", "db", "mode"), cases(FORMS))
def test_a_write_tells_its_keys_and_is_seen_at_once(
    form: Form, db: str, mode: str, watch: Callable[[Form, str], Watch]
) -> None:
    """No row is missed, none is dropped in vain, and none is lost by a rollback."""
    run = watch(form, db)
    run.warm()
    if mode == AUTOCOMMIT:
        run.run(form.act)
    else:
        try:
            with armed("after-intent", lambda: run.told.update(run.server.intents())), transaction.atomic(using=db):
                form.act(**run.arguments)
                assert form.is_early or run.told == set()
                run.assert_served_as_in_database(here=True)
                if not form.is_early:
                    run.assert_served_as_before()
                if mode == ROLLBACK:
                    raise Undo
        except Undo:
            assert form.is_early or run.told == set()
            run.assert_served_as_before()
    run.assert_served_as_in_database()
    if mode != ROLLBACK:
        assert run.told == run.keys_expected()
    assert run.server.intents() == set()


class TestReturning:
    """The net reads what RETURNING gives, and leaves it to whoever asked."""

    TEXT = "INSERT INTO app_article (stamp) VALUES (%s), (%s), (%s) RETURNING stamp, id"

    @pytest.mark.parametrize(
        ("fetch", "expected"),
        [
            pytest.param(lambda cursor: [cursor.fetchone(), cursor.fetchone()], "ab", id="fetchone"),
            pytest.param(lambda cursor: cursor.fetchmany(2), "ab", id="fetchmany"),
            pytest.param(lambda cursor: cursor.fetchmany(), "a", id="fetchmany-arraysize"),
            pytest.param(lambda cursor: cursor.fetchall(), "abc", id="fetchall"),
            pytest.param(lambda cursor: list(cursor), "abc", id="iteration"),
            pytest.param(lambda cursor: [cursor.fetchone(), *cursor.fetchall(), *cursor], "abc", id="to-the-end"),
            pytest.param(lambda cursor: iter(cursor.fetchone, None), "abc", id="to-none"),
            pytest.param(
                lambda cursor: [[len(cursor.fetchall())], cursor.description[0]], [3, "stamp"], id="attributes"
            ),
        ],
    )
    def test_gives_its_rows_as_without_us(self, db_alias: str, fetch: Callable[[Any], Any], expected: Any) -> None:
        with connections[db_alias].cursor() as cursor:
            cursor.execute(self.TEXT, list("abc"))
            assert [row[0] for row in fetch(cursor)] == list(expected)

    def test_leaves_the_cursor_to_the_next_statement(self, db_alias: str) -> None:
        with connections[db_alias].cursor() as cursor:
            cursor.execute(self.TEXT, list("abc"))
            cursor.execute("SELECT 1 UNION SELECT 2 ORDER BY 1")
            assert cursor.fetchall() == [(1,), (2,)]

    def test_of_one_cursor_a_thousand_times(self, db_alias: str) -> None:
        """Each statement's rows are replayed once: replays are not piled up."""
        with transaction.atomic(using=db_alias), connections[db_alias].cursor() as cursor:
            for number in range(1200):
                cursor.execute("INSERT INTO app_article (stamp) VALUES (%s) RETURNING id, stamp", [str(number)])
                assert cursor.fetchone()[1] == str(number)


@pytest.mark.parametrize("mode", [AUTOCOMMIT, COMMIT])
def test_a_write_that_fails_leaves_the_old_row(db_alias: str, mode: str, server: Server, elsewhere: Elsewhere) -> None:
    """The intent is released, for nothing was written."""
    item, other = (Item.objects.using(db_alias).create(name=name()) for _ in range(2))
    told = set()
    with (
        armed("after-intent", lambda: told.update(server.intents())),
        pytest.raises(IntegrityError),
        transaction.atomic(using=db_alias) if mode == COMMIT else nullcontext(),
    ):
        Item.objects.using(db_alias).filter(pk=item.pk).update(slug=other.slug)
    assert bool(told) == (mode == AUTOCOMMIT)
    assert server.intents() == set()
    assert elsewhere(in_cache, Item, db_alias, [item.pk]) == elsewhere(in_database, Item, db_alias, [item.pk])


def test_a_savepoint_rolled_back_costs_a_load_and_no_row(db_alias: str, server: Server, elsewhere: Elsewhere) -> None:
    """Its keys stay in the write set: they invalidate too much, never too little."""
    kept, undone = (Item.objects.using(db_alias).create(name=name()) for _ in range(2))
    told = set()
    with armed("after-intent", lambda: told.update(server.intents())), transaction.atomic(using=db_alias):
        changed(kept, name="new").save()
        with suppress(Undo), transaction.atomic(using=db_alias):
            changed(undone, name="new").save()
            raise Undo
        assert told == set()
        own = in_cache(Item, db_alias, [kept.pk, undone.pk])
        assert own == in_database(Item, db_alias, [kept.pk, undone.pk])
        assert own[undone.pk]["name"] != "new"
    assert {int(row) for _, _, row in told} == {kept.pk, undone.pk}
    rows = elsewhere(in_cache, Item, db_alias, [kept.pk, undone.pk])
    assert rows == elsewhere(in_database, Item, db_alias, [kept.pk, undone.pk])


def test_a_function_that_writes_is_invisible(databases: None, server: Server, elsewhere: Elsewhere) -> None:
    """Documented: no text tells it. The old row is served until its TTL."""
    item = Item.objects.using("default").create(name=name())
    told = set()
    update = f"UPDATE app_item SET name = 'new' WHERE id = {item.pk}"
    raw("default", f"CREATE FUNCTION renew_unseen() RETURNS void LANGUAGE sql AS $$ {update} $$")
    before = elsewhere(in_cache, Item, "default", [item.pk])
    with armed("after-intent", lambda: told.update(server.intents())):
        raw("default", "SELECT renew_unseen()")
    assert told == set()
    assert elsewhere(in_cache, Item, "default", [item.pk]) == before
    assert in_database(Item, "default", [item.pk]) != before
    raw("default", "DROP FUNCTION renew_unseen")

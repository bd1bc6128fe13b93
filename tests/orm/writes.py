"""The forms of write, as data: what is executed, and which keys the net must find for it.

An act asks for prepared rows by its parameters' names (``tests.orm.world.PREPARE``). What is expected of a model:

- ``ROWS``: exactly the rows that are different in the database afterwards;
- ``MODEL``: its epoch;
- a function of the world: exactly these primary keys, where some are named that did not change, which costs a load.

A model that is not mentioned must have no key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management.color import no_style
from django.db import connections, transaction
from django.db.models import Case, Count, F, Model, Q, QuerySet, Value, When
from django.db.models.functions import Concat, Upper
from psycopg import sql

from django_cacheaside.orm.registry import registry
from tests.app import catalog
from tests.app.catalog import (
    Article,
    Bill,
    Cafe,
    Country,
    Detail,
    Flag,
    Guest,
    Item,
    ItemProxy,
    ItemTag,
    Ledger,
    LedgerPlainTwin,
    LedgerTwin,
    Lot,
    Maker,
    Parcel,
    Remark,
    Seat,
    Serial,
    Song,
    Timed,
    Truck,
    Vehicle,
    Venue,
)
from tests.orm.world import MODEL, World, name

Sung = Song.singers.through
ROWS = "the rows that changed"
PG, SQLITE = ("default",), ("sqlite",)
BOTH = PG + SQLITE
AUTOCOMMIT, COMMIT, ROLLBACK = "autocommit", "commit", "rollback"
ALL_MODES = (AUTOCOMMIT, COMMIT, ROLLBACK)

Expected = str | Callable[[World], set[Any]]


@dataclass(frozen=True)
class Form:
    """One form of write.

    Args:
        act: What is executed.
        expected: What of which model; a function where all models are to be asked for late.
        databases: Where it exists.
        modes: Where it may be.
        is_early: Are its keys placed at once too? Some databases commit there, and the text does not tell which.
        alone_on: Databases that refuse it inside another transaction.
    """

    act: Callable[..., Any]
    expected: Mapping[type[Model], Expected] | Callable[[], Mapping[type[Model], Expected]]
    databases: tuple[str, ...] = BOTH
    modes: tuple[str, ...] = ALL_MODES
    is_early: bool = False
    alone_on: tuple[str, ...] = ()

    def expects(self, db: str) -> Mapping[type[Model], Expected]:
        """What is expected in a database: a pair differs, PostgreSQL first."""
        wanted = self.expected() if callable(self.expected) else self.expected
        at = BOTH.index(db)
        return {model: what[at] if isinstance(what, tuple) else what for model, what in wanted.items()}


def cases(forms: Mapping[str, Form]) -> list[Any]:
    """Each form in each of its databases and modes."""
    return [
        pytest.param(form, db, mode, id=f"{title.replace(' ', '-')}-{db}-{mode}")
        for title, form in forms.items()
        for db in form.databases
        for mode in form.modes
        if mode == AUTOCOMMIT or db not in form.alone_on
    ]


def everything() -> Mapping[type[Model], Expected]:
    """The epoch of every cached model."""
    return {one.model: MODEL for one in registry}


def changed(instance: Any, **values: Any) -> Any:
    """The instance with attributes set."""
    for attribute, value in values.items():
        setattr(instance, attribute, value)
    return instance


def of(model: Any, db: str) -> Any:
    """All rows of a model, by its default manager."""
    return model._default_manager.using(db)


def raw(db: str, text: Any, *params: Any) -> None:
    """One statement in a cursor of its own."""
    with connections[db].cursor() as cursor:
        cursor.execute(text, params or None)


def many(db: str, text: str, rows: Any) -> None:
    """``executemany``."""
    with connections[db].cursor() as cursor:
        cursor.executemany(text, rows)


def fetched(db: str, text: str, *params: Any) -> None:
    """A statement with RETURNING, of which only the first row is fetched."""
    with connections[db].cursor() as cursor:
        cursor.execute(text, params or None)
        assert cursor.fetchone()


def several(db: str, *texts: str) -> None:
    """Statements one by one, in one cursor."""
    with connections[db].cursor() as cursor:
        for text in texts:
            cursor.execute(text)


def pks(*names: str) -> Callable[[World], set[Any]]:
    """Exactly these prepared rows, or free primary keys."""
    return lambda world: {world.pks[one] for one in names}


def newest(model: type[Model]) -> Callable[[World], set[Any]]:
    """The row inserted last."""
    return lambda world: {QuerySet(model).using(world.db).order_by("-pk").values_list("pk", flat=True)[0]}


def copied(db: str, first: int) -> None:
    """COPY … FROM."""
    with (
        connections[db].cursor() as cursor,
        cursor.copy("COPY app_article (id, stamp) FROM STDIN") as copying,
    ):
        copying.write_row((first, "copied"))


def without_autocommit(db: str, pk: int) -> None:
    """A transaction by ``set_autocommit``."""
    transaction.set_autocommit(False, using=db)
    raw(db, "UPDATE app_item SET name = 'new' WHERE id = %s", pk)
    transaction.commit(using=db)
    transaction.set_autocommit(True, using=db)


def autocommit_commits(db: str, pk: int) -> None:
    """To SQLite, turning it on is a COMMIT."""
    transaction.set_autocommit(False, using=db)
    raw(db, "UPDATE app_item SET name = 'new' WHERE id = %s", pk)
    transaction.set_autocommit(True, using=db)


def with_procedure(db: str, pk: int) -> None:
    """``callproc``, which passes the execute wrappers by."""
    text = f"UPDATE app_item SET name = 'new' WHERE id = {pk}"
    raw(db, f"CREATE FUNCTION renew() RETURNS void LANGUAGE sql AS $$ {text} $$")
    with connections[db].cursor() as cursor:
        cursor.callproc("renew")
    raw(db, "DROP FUNCTION renew")


ORM_FORMS: dict[str, Form] = {
    # --- save
    "save inserts": Form(lambda db: Item(name="new").save(using=db), {Item: ROWS}),
    "save inserts a given pk": Form(lambda db, free: Item(pk=free).save(using=db), {Item: ROWS}),
    "save force_insert a given pk": Form(
        lambda db, free: Item(pk=free).save(using=db, force_insert=True), {Item: ROWS}
    ),
    "save updates": Form(lambda item: changed(item, name="new").save(), {Item: ROWS}),
    "save update_fields": Form(lambda item: changed(item, name="new").save(update_fields=["name"]), {Item: ROWS}),
    "save force_update": Form(lambda item: changed(item, name="new").save(force_update=True), {Item: ROWS}),
    "save F()": Form(lambda item: changed(item, stock=F("stock") + 1).save(), {Item: ROWS}),
    "save an expression": Form(lambda db: Item(name=Upper(Value("new"))).save(using=db), {Item: ROWS}),
    "save under another pk": Form(lambda item, free: changed(item, pk=free, slug=name()).save(), {Item: ROWS}),
    "save over another row": Form(
        lambda item, other: changed(item, pk=other.pk, slug=other.slug, name="new").save(), {Item: ROWS}
    ),
    "save a deferred instance": Form(
        lambda db, item: changed(of(Item, db).only("name").get(pk=item.pk), name="new").save(), {Item: ROWS}
    ),
    "save raw": Form(lambda item: changed(item, name="new").save_base(raw=True), {Item: ROWS}),
    "db_default": Form(lambda db: of(Timed, db).create(), {Timed: ROWS}),
    "generated column saved": Form(lambda bill: changed(bill, net=5).save(), {Bill: ROWS}),
    "generated column updated": Form(
        lambda db, bill: of(Bill, db).filter(pk=bill.pk).update(net=F("net") + 1), {Bill: ROWS}
    ),
    "generated column created": Form(lambda db: of(Bill, db).create(net=5), {Bill: ROWS}),
    "part of a compound key saved": Form(
        lambda lot, free: changed(lot, aisle=free).save(update_fields=["aisle"]), {Lot: ROWS}
    ),
    # --- managers
    "create": Form(lambda db: of(Item, db).create(name="new"), {Item: ROWS}),
    "create a given pk": Form(lambda db, free: of(Item, db).create(pk=free), {Item: ROWS}),
    "get_or_create creates": Form(lambda db, free: of(Item, db).get_or_create(pk=free), {Item: ROWS}),
    "get_or_create gets": Form(lambda db, item: of(Item, db).get_or_create(pk=item.pk), {}),
    "update_or_create creates": Form(
        lambda db, free: of(Item, db).update_or_create(pk=free, defaults={"name": "new"}), {Item: ROWS}
    ),
    "update_or_create updates": Form(
        lambda db, item: of(Item, db).update_or_create(name=item.name, defaults={"name": "new"}), {Item: ROWS}
    ),
    "plain manager creates": Form(lambda db: Item.plain.using(db).create(), {Item: ROWS}),
    "plain manager updates": Form(
        lambda db, item: Item.plain.using(db).filter(pk=item.pk).update(name="new"), {Item: ROWS}
    ),
    "cached manager creates": Form(lambda db: Item.cached.using(db).create(), {Item: ROWS}),
    "cached manager updates": Form(
        lambda db, item: Item.cached.using(db).filter(pk=item.pk).update(name="new"), {Item: ROWS}
    ),
    # --- update
    "update by pk": Form(lambda db, item: of(Item, db).filter(pk=item.pk).update(name="new"), {Item: ROWS}),
    "update by id__exact": Form(
        lambda db, item: of(Item, db).filter(id__exact=item.pk).update(name="new"), {Item: ROWS}
    ),
    "update by pk__in": Form(
        lambda db, item, other: of(Item, db).filter(pk__in=[item.pk, other.pk]).update(name="new"), {Item: ROWS}
    ),
    "update by no pk": Form(lambda db: of(Item, db).filter(pk__in=[]).update(name="new"), {}),
    "update by pk range": Form(
        lambda db, item: of(Item, db).filter(pk__gte=item.pk, pk__lte=item.pk).update(name="new"), {Item: MODEL}
    ),
    "update by condition": Form(lambda db, item: of(Item, db).filter(name=item.name).update(stock=5), {Item: MODEL}),
    "update by condition and pk": Form(
        lambda db, item: of(Item, db).filter(name=item.name).filter(pk=item.pk).update(stock=5), {Item: ROWS}
    ),
    "update by condition and pk that is not so": Form(
        lambda db, item: of(Item, db).filter(name="no such", pk=item.pk).update(stock=5), {Item: pks("item")}
    ),
    "update by condition or pk": Form(
        lambda db, item: of(Item, db).filter(Q(pk=item.pk) | Q(name=item.name)).update(stock=5), {Item: MODEL}
    ),
    "update by not pk": Form(
        lambda db, item: of(Item, db).filter(name=item.name).exclude(pk=0).update(stock=5), {Item: MODEL}
    ),
    "update by not (pk or condition)": Form(
        lambda db, item: of(Item, db).filter(~(Q(pk=0) & Q(stock=0)), name=item.name).update(stock=5), {Item: MODEL}
    ),
    "update by join": Form(
        lambda db, of_maker: of(Item, db).filter(maker__name=of_maker.maker.name).update(stock=5), {Item: MODEL}
    ),
    "update by join and pk": Form(
        lambda db, of_maker: of(Item, db).filter(maker__name=of_maker.maker.name, pk=of_maker.pk).update(stock=5),
        {Item: MODEL},
    ),
    "update by subquery": Form(
        lambda db, item: of(Item, db).filter(pk__in=of(Item, db).filter(name=item.name).values("pk")).update(stock=5),
        {Item: MODEL},
    ),
    "update annotated": Form(
        lambda db, item: of(Item, db).annotate(n=Count("tags")).filter(n=0, pk=item.pk).update(stock=5), {Item: MODEL}
    ),
    "update by Case": Form(
        lambda db, item, other: (
            of(Item, db)
            .filter(pk__in=[item.pk, other.pk])
            .update(stock=Case(When(pk=item.pk, then=Value(1)), default=Value(2)))
        ),
        {Item: ROWS},
    ),
    "update F() and Concat": Form(
        lambda db, item: of(Item, db).filter(pk=item.pk).update(stock=F("stock") + 1, name=Concat("name", Value("%s"))),
        {Item: ROWS},
    ),
    "update the pk": Form(
        lambda db, serial, free: of(Serial, db).filter(pk=serial.pk).update(number=free), {Serial: MODEL}
    ),
    "update of a JSON": Form(lambda db, item: of(Item, db).filter(pk=item.pk).update(data={"a": "%s"}), {Item: ROWS}),
    "update of part of a compound key": Form(
        lambda db, lot, free: of(Lot, db).filter(pk=lot.pk).update(aisle=free), {Lot: ROWS}
    ),
    "update of part of a compound key by the other part": Form(
        lambda db, lot, free: of(Lot, db).filter(place=lot.place).update(aisle=free), {Lot: MODEL}
    ),
    # --- bulk
    "bulk_create": Form(lambda db: of(Item, db).bulk_create([Item(), Item()]), {Item: ROWS}),
    "bulk_create one": Form(lambda db: of(Item, db).bulk_create([Item()]), {Item: ROWS}),
    "bulk_create given pks": Form(
        lambda db, free, free2: of(Item, db).bulk_create([Item(pk=free), Item(pk=free2)]), {Item: ROWS}
    ),
    "bulk_create given pks and others": Form(
        lambda db, free: of(Item, db).bulk_create([Item(pk=free), Item()]), {Item: ROWS}
    ),
    "bulk_create ignore_conflicts": Form(
        lambda db, item: of(Item, db).bulk_create([Item(), Item(slug=item.slug)], ignore_conflicts=True), {Item: MODEL}
    ),
    "bulk_create given pks ignore_conflicts": Form(
        lambda db, item, free: of(Item, db).bulk_create([Item(pk=free), Item(pk=item.pk)], ignore_conflicts=True),
        {Item: pks("item", "free")},
    ),
    "bulk_create update_conflicts": Form(
        lambda db, item: of(Item, db).bulk_create(
            [Item(name="new", slug=item.slug), Item(name="new")],
            update_conflicts=True,
            unique_fields=["slug"],
            update_fields=["name"],
        ),
        {Item: ROWS},
    ),
    "bulk_create given pks update_conflicts": Form(
        lambda db, item, free: of(Item, db).bulk_create(
            [Item(pk=item.pk, name="new"), Item(pk=free)],
            update_conflicts=True,
            unique_fields=["pk"],
            update_fields=["name"],
        ),
        {Item: ROWS},
    ),
    "bulk_update": Form(
        lambda db, item, other: of(Item, db).bulk_update(
            [changed(item, name="new", stock=2), changed(other, name="new")], ["name", "stock"]
        ),
        {Item: ROWS},
    ),
    # --- delete
    "delete": Form(lambda item: item.delete(), {Item: ROWS}),
    "delete with what hangs on it": Form(
        lambda item, link, detail, remark: item.delete(), {Item: ROWS, ItemTag: ROWS, Detail: ROWS}
    ),
    "delete a queryset": Form(lambda db, item: of(Item, db).filter(name=item.name).delete(), {Item: ROWS}),
    "delete a queryset by pk": Form(
        lambda db, article, article2: of(Article, db).filter(pk__in=[article.pk, article2.pk]).delete(),
        {Article: ROWS},
    ),
    "_raw_delete by pk": Form(
        lambda db, article: of(Article, db).filter(pk=article.pk)._raw_delete(db), {Article: ROWS}
    ),
    "_raw_delete by condition": Form(
        lambda db, article: of(Article, db).filter(stamp=article.stamp)._raw_delete(db), {Article: MODEL}
    ),
    "fast delete of a plain model": Form(lambda db, remark: of(Remark, db).filter(item=remark.item).delete(), {}),
    "CASCADE": Form(lambda of_maker, of_maker2: of_maker.maker.delete(), {Item: ROWS}),
    "CASCADE by queryset": Form(
        lambda db, of_maker, of_maker2: of(Maker, db).filter(pk=of_maker.maker_id).delete(), {Item: ROWS}
    ),
    "SET_NULL": Form(lambda on_shelf: on_shelf.shelf.delete(), {Item: MODEL}),
    "SET_DEFAULT": Form(lambda of_brand: of_brand.brand.delete(), {Item: ROWS}),
    "SET()": Form(lambda guest: guest.host.delete(), {Guest: ROWS}),
    "SET() by queryset": Form(lambda db, guest: of(Maker, db).filter(pk=guest.host_id).delete(), {Guest: ROWS}),
    # --- relations
    "m2m add": Form(lambda item, label: item.labels.add(label), {}),
    "m2m add from the other side": Form(lambda item, label: label.item_set.add(item), {}),
    "m2m set, remove, clear": Form(
        lambda item, label: (item.labels.set([label]), item.labels.remove(label), item.labels.clear()), {}
    ),
    "m2m create": Form(lambda item: item.labels.create(name="new"), {}),
    "m2m add through": Form(lambda item, tag: item.tags.add(tag), {ItemTag: ROWS}),
    "m2m add through with more": Form(
        lambda item, tag, tag2: item.tags.add(tag, tag2, through_defaults={"weight": 7}), {ItemTag: ROWS}
    ),
    "m2m create through": Form(lambda item: item.tags.create(name="new"), {ItemTag: ROWS}),
    "m2m remove through": Form(lambda item, link, tag: item.tags.remove(tag), {ItemTag: ROWS}),
    "m2m clear through": Form(lambda item, link, link2: item.tags.clear(), {ItemTag: ROWS}),
    "m2m clear through from the other side": Form(lambda link, tag: tag.item_set.clear(), {ItemTag: ROWS}),
    "m2m set through": Form(lambda item, link, tag2: item.tags.set([tag2]), {ItemTag: ROWS}),
    "m2m add through from the other side": Form(
        lambda tag, item, other: tag.item_set.add(item, other), {ItemTag: ROWS}
    ),
    "m2m remove through from the other side": Form(lambda link, tag, item: tag.item_set.remove(item), {ItemTag: ROWS}),
    "m2m set through from the other side": Form(lambda link, tag, other: tag.item_set.set([other]), {ItemTag: ROWS}),
    "m2m create through from the other side": Form(
        lambda tag: tag.item_set.create(name="new"), {Item: ROWS, ItemTag: ROWS}
    ),
    "m2m add auto-created": Form(lambda song, singer: song.singers.add(singer), {Sung: (MODEL, ROWS)}),
    "m2m add auto-created from the other side": Form(
        lambda song, singer: singer.song_set.add(song), {Sung: (MODEL, ROWS)}
    ),
    "m2m create auto-created": Form(lambda song: song.singers.create(), {Sung: (MODEL, ROWS)}),
    "m2m remove auto-created": Form(lambda sung, song, singer: song.singers.remove(singer), {Sung: ROWS}),
    "m2m remove auto-created from the other side": Form(
        lambda sung, song, singer: singer.song_set.remove(song), {Sung: ROWS}
    ),
    "m2m set auto-created": Form(lambda sung, song, singer2: song.singers.set([singer2]), {Sung: (MODEL, ROWS)}),
    "m2m clear auto-created": Form(lambda sung, song: song.singers.clear(), {Sung: ROWS}),
    "m2m clear auto-created from the other side": Form(lambda sung, singer: singer.song_set.clear(), {Sung: ROWS}),
    "m2m auto-created through model": Form(
        lambda db, song, singer: of(Sung, db).create(song=song, singer=singer), {Sung: ROWS}
    ),
    "m2m CASCADE auto-created": Form(lambda sung, song: song.delete(), {Sung: ROWS}),
    "through model": Form(lambda db, item, tag: of(ItemTag, db).create(item=item, tag=tag), {ItemTag: ROWS}),
    "reverse add": Form(lambda maker, item, other: maker.item_set.add(item, other), {Item: ROWS}),
    "reverse add one by one": Form(
        lambda maker, item, other: maker.item_set.add(item, other, bulk=False), {Item: ROWS}
    ),
    "reverse set": Form(lambda maker, of_maker, item: maker.item_set.set([item]), {Item: ROWS}),
    "reverse set one by one": Form(lambda maker, of_maker, item: maker.item_set.set([item], bulk=False), {Item: ROWS}),
    "reverse set cleared": Form(lambda maker, of_maker, item: maker.item_set.set([item], clear=True), {Item: MODEL}),
    "reverse remove": Form(lambda maker, of_maker: maker.item_set.remove(of_maker), {Item: ROWS}),
    "reverse remove one by one": Form(
        lambda maker, of_maker: maker.item_set.remove(of_maker, bulk=False), {Item: ROWS}
    ),
    "reverse clear": Form(lambda maker, of_maker, of_maker2: maker.item_set.clear(), {Item: MODEL}),
    "reverse clear one by one": Form(lambda maker, of_maker, of_maker2: maker.item_set.clear(bulk=False), {Item: ROWS}),
    "reverse create": Form(lambda maker: maker.item_set.create(name="new"), {Item: ROWS}),
    "reverse update_or_create": Form(
        lambda maker, of_maker: maker.item_set.update_or_create(pk=of_maker.pk, defaults={"name": "new"}), {Item: ROWS}
    ),
    # --- inheritance
    "child of a plain parent saved": Form(lambda cafe: changed(cafe, name="new", seats=3).save(), {Cafe: ROWS}),
    "child of a plain parent saved, parent's field": Form(
        lambda cafe: changed(cafe, name="new").save(update_fields=["name"]), {Cafe: ROWS}
    ),
    "child of a plain parent created": Form(lambda db: of(Cafe, db).create(name="new", seats=3), {Cafe: ROWS}),
    "child of a plain parent updated": Form(
        lambda db, cafe: of(Cafe, db).filter(pk=cafe.pk).update(seats=3), {Cafe: ROWS}
    ),
    "child of a plain parent updated, parent's field": Form(
        lambda db, cafe: of(Cafe, db).filter(pk=cafe.pk).update(name="new"), {Cafe: ROWS}
    ),
    "child of a plain parent updated, both tables": Form(
        lambda db, cafe: of(Cafe, db).filter(pk=cafe.pk).update(name="new", seats=3), {Cafe: ROWS}
    ),
    "child of a plain parent updated by condition": Form(
        lambda db, cafe: of(Cafe, db).filter(name=cafe.name).update(name="new"), {Cafe: ROWS}
    ),
    "child of a plain parent deleted": Form(lambda cafe: cafe.delete(), {Cafe: ROWS}),
    "plain parent saved": Form(
        lambda db, cafe: changed(of(Venue, db).get(pk=cafe.pk), name="new").save(), {Cafe: ROWS}
    ),
    "plain parent created": Form(lambda db: of(Venue, db).create(), {Cafe: newest(Venue)}),
    "plain parent updated by condition": Form(
        lambda db, cafe: of(Venue, db).filter(name=cafe.name).update(name="new"), {Cafe: MODEL}
    ),
    "plain parent deleted": Form(lambda cafe: cafe.venue_ptr.delete(), {Cafe: ROWS}),
    "child of a cached parent saved": Form(
        lambda truck: changed(truck, name="new").save(), {Truck: ROWS, Vehicle: ROWS}
    ),
    "child of a cached parent created": Form(lambda db: of(Truck, db).create(load=1), {Truck: ROWS, Vehicle: ROWS}),
    "child of a cached parent updated": Form(
        lambda db, truck: of(Truck, db).filter(pk=truck.pk).update(load=5), {Truck: ROWS}
    ),
    "child of a cached parent deleted": Form(lambda truck: truck.delete(), {Truck: ROWS, Vehicle: ROWS}),
    "child of a cached parent updated, parent's field": Form(
        lambda db, truck: of(Truck, db).filter(pk=truck.pk).update(name="new"), {Truck: ROWS, Vehicle: ROWS}
    ),
    "child of a cached parent updated, both tables": Form(
        lambda db, truck: of(Truck, db).filter(pk=truck.pk).update(name="new", load=5), {Truck: ROWS, Vehicle: ROWS}
    ),
    "child of a cached parent updated by its own field": Form(
        lambda db, truck, free: (
            of(Truck, db).filter(pk=truck.pk).update(load=free),
            of(Truck, db).filter(load=free).update(name="new"),
        ),
        {Truck: ROWS, Vehicle: ROWS},
    ),
    "child of a cached parent deleted alone": Form(
        lambda truck: truck.delete(keep_parents=True), {Truck: ROWS, Vehicle: pks("truck")}
    ),
    "cached parent updated": Form(
        lambda db, truck: of(Vehicle, db).filter(pk=truck.pk).update(name="new"), {Truck: ROWS, Vehicle: ROWS}
    ),
    "cached parent created": Form(lambda db: of(Vehicle, db).create(), {Vehicle: ROWS, Truck: newest(Vehicle)}),
    # --- one table, several models
    "proxy saved": Form(lambda proxy: changed(proxy, name="new").save(), {Item: ROWS}),
    "proxy created": Form(lambda db: of(ItemProxy, db).create(), {Item: ROWS}),
    "proxy updated": Form(lambda db, item: of(ItemProxy, db).filter(pk=item.pk).update(name="new"), {Item: ROWS}),
    "proxy deleted": Form(lambda db, item: of(ItemProxy, db).get(pk=item.pk).delete(), {Item: ROWS}),
    "table with a twin saved": Form(
        lambda ledger: changed(ledger, name="new").save(), {Ledger: ROWS, LedgerTwin: ROWS}
    ),
    "table with a twin created": Form(lambda db: of(Ledger, db).create(), {Ledger: ROWS, LedgerTwin: ROWS}),
    "unmanaged twin updated": Form(
        lambda db, ledger: of(LedgerTwin, db).filter(pk=ledger.pk).update(name="new"), {Ledger: ROWS, LedgerTwin: ROWS}
    ),
    "unmanaged plain twin saved": Form(
        lambda db, ledger: LedgerPlainTwin(pk=ledger.pk, name="new").save(using=db), {Ledger: ROWS, LedgerTwin: ROWS}
    ),
    "unmanaged plain twin updated by condition": Form(
        lambda db, ledger: of(LedgerPlainTwin, db).filter(name=ledger.name).update(name="new"),
        {Ledger: MODEL, LedgerTwin: MODEL},
    ),
    "unmanaged plain twin deleted": Form(
        lambda db, ledger: of(LedgerPlainTwin, db).filter(pk=ledger.pk).delete(), {Ledger: ROWS, LedgerTwin: ROWS}
    ),
    "abstract base": Form(lambda article: changed(article, stamp="new").save(), {Article: ROWS}),
    # --- primary keys
    "UUID created": Form(lambda db: Parcel(name="new").save(using=db), {Parcel: ROWS}),
    "UUID given": Form(lambda db, free_uuid: of(Parcel, db).create(pk=free_uuid), {Parcel: ROWS}),
    "UUID as text": Form(lambda db, free_uuid: of(Parcel, db).create(pk=str(free_uuid).upper()), {Parcel: ROWS}),
    "UUID saved": Form(lambda parcel: changed(parcel, name="new").save(), {Parcel: ROWS}),
    "UUID updated": Form(
        lambda db, parcel: of(Parcel, db).filter(pk=str(parcel.pk)).update(name="new"), {Parcel: ROWS}
    ),
    "UUID bulk_create": Form(lambda db: of(Parcel, db).bulk_create([Parcel(), Parcel()]), {Parcel: ROWS}),
    "UUID deleted": Form(lambda parcel: parcel.delete(), {Parcel: ROWS}),
    "text created": Form(lambda db, free_code: of(Country, db).create(code=free_code), {Country: ROWS}),
    "text saved": Form(lambda country: changed(country, name="new").save(), {Country: ROWS}),
    "long text updated": Form(lambda db, long: of(Country, db).filter(pk=long.pk).update(name="new"), {Country: ROWS}),
    "text with a hash updated": Form(
        lambda db, hashed: of(Country, db).filter(pk=hashed.pk).update(name="new"), {Country: ROWS}
    ),
    "unicode text updated": Form(
        lambda db, umlaut: of(Country, db).filter(pk=umlaut.pk).update(name="new"), {Country: ROWS}
    ),
    "unicode text deleted": Form(lambda umlaut: umlaut.delete(), {Country: ROWS}),
    "text changed": Form(
        lambda db, country, free_code: of(Country, db).filter(pk=country.pk).update(code=free_code),
        {Country: MODEL, Flag: MODEL},
    ),
    "one to one created": Form(lambda db, item: of(Detail, db).create(item=item), {Detail: ROWS}),
    "one to one saved": Form(lambda detail: changed(detail, text="new").save(), {Detail: ROWS}),
    "one to one updated": Form(
        lambda db, detail: of(Detail, db).filter(item_id=detail.pk).update(text="new"), {Detail: ROWS}
    ),
    "one to one updated by instance": Form(
        lambda db, detail, item: of(Detail, db).filter(item=item).update(text="new"), {Detail: ROWS}
    ),
    "one to one of a text updated": Form(
        lambda db, flag: of(Flag, db).filter(pk=flag.pk).update(name="new"), {Flag: ROWS}
    ),
    "composite created": Form(lambda db, free: of(Seat, db).create(row=free, place=1), {Seat: MODEL}),
    "composite saved": Form(lambda seat: changed(seat, name="new").save(), {Seat: MODEL}),
    "composite deleted": Form(lambda seat: seat.delete(), {Seat: MODEL}),
    "composite updated": Form(lambda db, seat: of(Seat, db).filter(pk=seat.pk).update(name="new"), {Seat: MODEL}),
    "composite updated in part of the key": Form(
        lambda db, seat: of(Seat, db).filter(pk=seat.pk).update(place=2), {Seat: MODEL}
    ),
    "composite bulk_create update_conflicts": Form(
        lambda db, seat: of(Seat, db).bulk_create(
            [Seat(row=seat.row, place=1, name="new")],
            update_conflicts=True,
            unique_fields=["row", "place"],
            update_fields=["name"],
        ),
        {Seat: MODEL},
    ),
}

_new = "UPDATE app_item SET name = 'new'"

RAW_FORMS: dict[str, Form] = {
    # --- INSERT
    "INSERT with pk": Form(
        lambda db, free: raw(db, "INSERT INTO app_article (id, stamp) VALUES (%s, %s)", free, "new"), {Article: ROWS}
    ),
    "INSERT without pk": Form(
        lambda db: raw(db, "INSERT INTO app_article (stamp) VALUES (%s)", "new"), {Article: (MODEL, ROWS)}
    ),
    "INSERT of literals": Form(
        lambda db, free: raw(db, f"INSERT INTO app_article (id, stamp) VALUES ({free}, 'new')"),
        {Article: (MODEL, ROWS)},
    ),
    "INSERT without columns": Form(
        lambda db, free: raw(db, "INSERT INTO app_article VALUES (%s, 'new')", free), {Article: MODEL}
    ),
    "INSERT RETURNING": Form(
        lambda db: fetched(db, "INSERT INTO app_article (stamp) VALUES (%s) RETURNING stamp, id", "new"),
        {Article: ROWS},
    ),
    "INSERT of two RETURNING": Form(
        lambda db: fetched(db, "INSERT INTO app_article (stamp) VALUES (%s), (%s) RETURNING id", "new", "new"),
        {Article: ROWS},
    ),
    "INSERT RETURNING *": Form(
        lambda db: fetched(db, "INSERT INTO app_article (stamp) VALUES (%s) RETURNING *", "new"), {Article: MODEL}
    ),
    "INSERT SELECT": Form(
        lambda db, article: raw(
            db, "INSERT INTO app_article (stamp) SELECT stamp FROM app_article WHERE id = %s", article.pk
        ),
        {Article: MODEL},
    ),
    "INSERT OR IGNORE": Form(
        lambda db, item: raw(
            db,
            "INSERT OR IGNORE INTO app_item (id, name, slug, stock, data) VALUES (%s, 'new', '', 0, '{}')",
            item.pk,
        ),
        {Item: pks("item")},
        SQLITE,
    ),
    "INSERT OR REPLACE": Form(
        lambda db, article: raw(db, "INSERT OR REPLACE INTO app_article (id, stamp) VALUES (%s, 'new')", article.pk),
        {Article: MODEL},
        SQLITE,
    ),
    "REPLACE": Form(
        lambda db, article: raw(db, "REPLACE INTO app_article (id, stamp) VALUES (%s, 'new')", article.pk),
        {Article: MODEL},
        SQLITE,
    ),
    "REPLACE of another row RETURNING": Form(
        lambda db, item: fetched(
            db,
            "REPLACE INTO app_item (name, slug, stock, data) VALUES ('new', %s, 0, '{}') RETURNING id",
            str(item.slug),
        ),
        {Item: MODEL},
        SQLITE,
    ),
    "INSERT ON CONFLICT DO NOTHING": Form(
        lambda db, article: raw(
            db, "INSERT INTO app_article (id, stamp) VALUES (%s, 'new') ON CONFLICT DO NOTHING", article.pk
        ),
        {Article: pks("article")},
    ),
    "INSERT ON CONFLICT DO UPDATE": Form(
        lambda db, article: raw(
            db,
            "INSERT INTO app_article (id, stamp) VALUES (%s, 'new') ON CONFLICT (id) DO UPDATE SET stamp = 'new'",
            article.pk,
        ),
        {Article: MODEL},
    ),
    "INSERT ON CONFLICT DO UPDATE RETURNING": Form(
        lambda db, article: fetched(
            db,
            "INSERT INTO app_article (id, stamp) VALUES (%s, '') "
            "ON CONFLICT (id) DO UPDATE SET stamp = 'new' RETURNING id",
            article.pk,
        ),
        {Article: ROWS},
    ),
    "INSERT ON CONFLICT DO UPDATE of the pk RETURNING": Form(
        lambda db, article, free: fetched(
            db,
            "INSERT INTO app_article (id, stamp) VALUES (%s, '') ON CONFLICT (id) DO UPDATE SET id = %s RETURNING id",
            article.pk,
            free,
        ),
        {Article: MODEL},
    ),
    "INSERT of a computed pk": Form(
        lambda db, free: raw(db, "INSERT INTO app_serial (number, name) VALUES (abs(%s), 'new')", free), {Serial: MODEL}
    ),
    "INSERT of a computed text pk": Form(
        lambda db, free_code: raw(db, "INSERT INTO app_country (code, name) VALUES (lower(%s), 'new')", free_code),
        {Country: MODEL},
    ),
    # --- UPDATE
    "UPDATE by pk": Form(lambda db, item: raw(db, f"{_new} WHERE id = %s", item.pk), {Item: ROWS}),
    "UPDATE by literal pk": Form(lambda db, item: raw(db, f"{_new} WHERE id = {item.pk}"), {Item: ROWS}),
    "UPDATE by pk as text": Form(lambda db, item: raw(db, f"{_new} WHERE id = %s", str(item.pk)), {Item: MODEL}),
    "UPDATE by pk IN": Form(
        lambda db, item, other: raw(db, f"{_new} WHERE id IN (%s, %s)", item.pk, other.pk), {Item: ROWS}
    ),
    "UPDATE by pk ANY": Form(lambda db, item: raw(db, f"{_new} WHERE id = ANY(%s)", [item.pk]), {Item: MODEL}, PG),
    "UPDATE by pk OR": Form(
        lambda db, item: raw(db, f"{_new} WHERE id = %s OR name = %s", item.pk, item.name), {Item: MODEL}
    ),
    "UPDATE by named parameter": Form(
        lambda db, item: _named(db, f"{_new} WHERE id = %(pk)s", pk=item.pk), {Item: MODEL}
    ),
    "UPDATE in lower case": Form(
        lambda db, item: raw(db, "update app_item set name='new' where id=%s;", item.pk), {Item: ROWS}
    ),
    "UPDATE of a quoted name": Form(
        lambda db, item: raw(db, 'UPDATE "app_item" SET "name" = \'new\' WHERE "app_item"."id" = %s', item.pk),
        {Item: ROWS},
    ),
    "UPDATE with a schema": Form(
        lambda db, item: raw(db, "UPDATE public.app_item SET name = 'new' WHERE id = %s", item.pk), {Item: ROWS}, PG
    ),
    "UPDATE of main": Form(
        lambda db, item: raw(db, "UPDATE main.app_item SET name = 'new' WHERE id = %s", item.pk), {Item: ROWS}, SQLITE
    ),
    "UPDATE with an alias": Form(
        lambda db, item: raw(db, "UPDATE app_item AS i SET name = 'new' WHERE i.id = %s", item.pk), {Item: ROWS}
    ),
    "UPDATE FROM": Form(
        lambda db, of_maker: raw(
            db,
            "UPDATE app_item SET name = 'new' FROM app_maker m WHERE app_item.maker_id = m.id AND m.name = %s",
            of_maker.maker.name,
        ),
        {Item: MODEL},
    ),
    "UPDATE FROM by pk": Form(
        lambda db, of_maker: raw(
            db,
            "UPDATE app_item SET name = 'new' FROM app_maker m WHERE app_item.maker_id = m.id AND app_item.id = %s",
            of_maker.pk,
        ),
        {Item: ROWS},
    ),
    "UPDATE after a comment": Form(
        lambda db, item: raw(db, f"/* why %% not */ -- really\n{_new} WHERE id = %s", item.pk),
        {Item: ROWS},
    ),
    "UPDATE of all": Form(lambda db, serial: raw(db, "UPDATE app_serial SET name = name || 'x'"), {Serial: MODEL}),
    "UPDATE OR REPLACE": Form(
        lambda db, item: raw(db, "UPDATE OR REPLACE app_item SET name = 'new' WHERE id = %s", item.pk),
        {Item: MODEL},
        SQLITE,
    ),
    "UPDATE of the pk": Form(
        lambda db, article, free: raw(db, "UPDATE app_article SET id = %s WHERE id = %s", free, article.pk),
        {Article: MODEL},
    ),
    "UPDATE of the rowid": Form(
        lambda db, article, free: raw(db, "UPDATE app_article SET rowid = %s WHERE id = %s", free, article.pk),
        {Article: MODEL},
        SQLITE,
    ),
    "UPDATE RETURNING": Form(
        lambda db, item, other: fetched(db, f"{_new} WHERE id IN (%s, %s) RETURNING id", item.pk, other.pk),
        {Item: ROWS},
    ),
    "UPDATE by condition RETURNING": Form(
        lambda db, item: fetched(db, f"{_new} WHERE name = %s RETURNING id", item.name), {Item: MODEL}
    ),
    "UPDATE of a UUID": Form(
        lambda db, parcel: raw(
            db,
            "UPDATE app_parcel SET name = 'new' WHERE id = %s",
            parcel.pk.hex if db == "sqlite" else str(parcel.pk),
        ),
        {Parcel: ROWS},
    ),
    "UPDATE of a text": Form(
        lambda db, umlaut: raw(db, "UPDATE app_country SET name = 'new' WHERE code = %s", umlaut.pk), {Country: ROWS}
    ),
    "UPDATE of a literal text": Form(
        lambda db, country: raw(db, f"UPDATE app_country SET name = 'new' WHERE code = '{country.pk}'"),
        {Country: MODEL},
    ),
    "UPDATE WITH": Form(
        lambda db, item: raw(
            db, f"WITH a AS (SELECT id FROM app_item WHERE id = %s) {_new} WHERE id IN (SELECT id FROM a)", item.pk
        ),
        {Item: MODEL},
    ),
    # --- DELETE and the rest
    "DELETE by pk": Form(
        lambda db, article: raw(db, "DELETE FROM app_article WHERE id = %s", article.pk), {Article: ROWS}
    ),
    "DELETE by condition": Form(
        lambda db, article: raw(db, "DELETE FROM app_article WHERE stamp = %s", article.stamp), {Article: MODEL}
    ),
    "DELETE USING": Form(
        lambda db, article, item: raw(
            db, "DELETE FROM app_article USING app_item i WHERE app_article.id = %s AND i.id = %s", article.pk, item.pk
        ),
        {Article: ROWS},
        PG,
    ),
    "DELETE USING itself": Form(
        lambda db, article, article2: raw(
            db,
            "DELETE FROM app_article x USING app_article WHERE x.stamp = %s AND app_article.id = %s",
            article.stamp,
            article2.pk,
        ),
        {Article: MODEL},
        PG,
    ),
    "UPDATE in a WITH": Form(
        lambda db, item: fetched(
            db, f"WITH renewed AS ({_new} WHERE id = %s RETURNING id) SELECT * FROM renewed", item.pk
        ),
        {Item: MODEL},
        PG,
    ),
    "DELETE in a WITH": Form(
        lambda db, article: fetched(
            db, "WITH gone AS (DELETE FROM app_article WHERE id = %s RETURNING id) SELECT * FROM gone", article.pk
        ),
        {Article: MODEL},
        PG,
    ),
    "DELETE WITH": Form(
        lambda db, article: raw(
            db,
            "WITH a AS (SELECT %s AS id) DELETE FROM app_article WHERE id IN (SELECT id FROM a)",
            article.pk,
        ),
        {Article: MODEL},
    ),
    "MERGE": Form(
        lambda db, article: raw(
            db,
            "MERGE INTO app_article t USING (SELECT %s::bigint AS id) s ON t.id = s.id "
            "WHEN MATCHED THEN UPDATE SET stamp = 'new'",
            article.pk,
        ),
        {Article: MODEL},
        PG,
    ),
    "MERGE that inserts": Form(
        lambda db, free: raw(
            db,
            "MERGE INTO app_article t USING (SELECT %s::bigint AS id) s ON t.id = s.id "
            "WHEN NOT MATCHED THEN INSERT (id, stamp) VALUES (s.id, 'new')",
            free,
        ),
        {Article: MODEL},
        PG,
    ),
    "MERGE that deletes": Form(
        lambda db, article: raw(
            db,
            "MERGE INTO app_article t USING (SELECT %s::bigint AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE",
            article.pk,
        ),
        {Article: MODEL},
        PG,
    ),
    "TRUNCATE": Form(lambda db, article: raw(db, "TRUNCATE app_article"), {Article: MODEL}, PG, is_early=True),
    "TRUNCATE CASCADE": Form(
        lambda db, flag: raw(db, 'TRUNCATE TABLE "app_country" CASCADE'),
        {Country: MODEL, Flag: MODEL},
        PG,
        is_early=True,
    ),
    "flush of a table": Form(lambda db, parcel: _flushed(db), {Parcel: MODEL}, is_early=True),
    "COPY": Form(lambda db, free: copied(db, free), {Article: MODEL}, PG),
    # --- executemany
    "executemany INSERT": Form(
        lambda db, free, free2: many(
            db, "INSERT INTO app_article (id, stamp) VALUES (%s, %s)", [(free, "a"), (free2, "b")]
        ),
        {Article: ROWS},
    ),
    "executemany INSERT without pk": Form(
        lambda db: many(db, "INSERT INTO app_article (stamp) VALUES (%s)", [("a",), ("b",)]), {Article: MODEL}
    ),
    "executemany UPDATE": Form(
        lambda db, item, other: many(db, f"{_new} WHERE id = %s", [[item.pk], [other.pk]]), {Item: ROWS}
    ),
    "executemany UPDATE of a generator": Form(
        lambda db, item, other: many(db, f"{_new} WHERE id = %s", ((one.pk,) for one in (item, other))), {Item: MODEL}
    ),
    "executemany DELETE": Form(
        lambda db, article, article2: many(
            db, "DELETE FROM app_article WHERE id = %s", [(article.pk,), (article2.pk,)]
        ),
        {Article: ROWS},
    ),
    "executemany of nothing": Form(lambda db: many(db, f"{_new} WHERE id = %s", []), {}),
    # --- texts that are not one statement
    "UPDATE RETURNING by Manager.raw()": Form(
        lambda db, item: list(Item.objects.using(db).raw(f"{_new} WHERE id = %s RETURNING *", [item.pk])), {Item: ROWS}
    ),
    "UPDATE WHERE CURRENT OF": Form(lambda db, item: _by_cursor(db, item.pk), {Item: MODEL}, PG),
    "two statements in one text": Form(
        lambda db, item, serial: raw(
            db,
            f"{_new} WHERE id = {item.pk}; UPDATE app_serial SET name = 'new' WHERE number = {serial.pk}",
        ),
        {Item: MODEL, Serial: MODEL},
        PG,
    ),
    "executescript": Form(
        lambda db, item, serial: _script(
            db, f"{_new} WHERE id = {item.pk}; DELETE FROM app_serial WHERE number = {serial.pk};"
        ),
        {Item: MODEL, Serial: MODEL},
        SQLITE,
        (AUTOCOMMIT,),
    ),
    "composed SQL": Form(
        lambda db, item: raw(
            db, sql.SQL("UPDATE {} SET name = 'new' WHERE id = %s").format(sql.Identifier("app_item")), item.pk
        ),
        {Item: ROWS},
        PG,
    ),
    "DO": Form(
        lambda db, item: raw(db, f"DO $$ BEGIN {_new} WHERE id = {item.pk}; END $$"), everything, PG, is_early=True
    ),
    "callproc": Form(lambda db, item: with_procedure(db, item.pk), everything, PG, is_early=True),
    "PREPARE and EXECUTE": Form(
        lambda db, item: several(
            db, f"PREPARE renew AS {_new} WHERE id = $1", f"EXECUTE renew({item.pk})", "DEALLOCATE renew"
        ),
        everything,
        PG,
        is_early=True,
    ),
    "CREATE TABLE and DROP TABLE": Form(
        lambda db: several(db, "CREATE TABLE scratch (id integer)", "DROP TABLE scratch"), {}, modes=(AUTOCOMMIT,)
    ),
    # --- transactions of one's own
    "BEGIN, UPDATE, COMMIT": Form(
        lambda db, item: several(db, "BEGIN", f"{_new} WHERE id = {item.pk}", "COMMIT"),
        {Item: ROWS},
        modes=(AUTOCOMMIT,),
    ),
    "BEGIN, UPDATE, ROLLBACK": Form(
        lambda db, item: several(db, "BEGIN", f"{_new} WHERE id = {item.pk}", "ROLLBACK"), {}, modes=(AUTOCOMMIT,)
    ),
    "COMMIT AND CHAIN": Form(
        lambda db, item, other: several(
            db,
            "BEGIN",
            f"{_new} WHERE id = {item.pk}",
            "COMMIT AND CHAIN",
            f"{_new} WHERE id = {other.pk}",
            "COMMIT",
        ),
        {Item: ROWS},
        PG,
        (AUTOCOMMIT,),
    ),
    "ROLLBACK AND CHAIN": Form(
        lambda db, item, other: several(
            db,
            "BEGIN",
            f"{_new} WHERE id = {item.pk}",
            "ROLLBACK AND CHAIN",
            f"{_new} WHERE id = {other.pk}",
            "COMMIT",
        ),
        {Item: ROWS},
        PG,
        (AUTOCOMMIT,),
    ),
    "COMMIT inside atomic": Form(
        lambda db, item, other: _committed_inside(db, item.pk, other.pk), {Item: ROWS}, PG, (AUTOCOMMIT,)
    ),
    "ROLLBACK TO a savepoint": Form(
        lambda db, item, other: _in_atomic(
            db,
            "SAVEPOINT a",
            f"{_new} WHERE id = {other.pk}",
            "ROLLBACK TO SAVEPOINT a",
            f"{_new} WHERE id = {item.pk}",
            "RELEASE SAVEPOINT a",
        ),
        {Item: pks("item", "other")},
    ),
    "PREPARE TRANSACTION, COMMIT PREPARED": Form(
        lambda db, item: several(
            db,
            "BEGIN",
            f"{_new} WHERE id = {item.pk}",
            "PREPARE TRANSACTION 'a form'",
            "COMMIT PREPARED 'a form'",
        ),
        everything,
        PG,
        (AUTOCOMMIT,),
    ),
    "PREPARE TRANSACTION, ROLLBACK PREPARED": Form(
        lambda db, item: several(
            db,
            "BEGIN",
            f"{_new} WHERE id = {item.pk}",
            "PREPARE TRANSACTION 'a form'",
            "ROLLBACK PREPARED 'a form'",
        ),
        {},
        PG,
        (AUTOCOMMIT,),
    ),
    "SAVEPOINT, UPDATE, RELEASE": Form(
        lambda db, item: several(db, "SAVEPOINT a", f"{_new} WHERE id = {item.pk}", "RELEASE a"),
        {Item: ROWS},
        SQLITE,
        (AUTOCOMMIT,),
    ),
    "set_autocommit and commit": Form(
        lambda db, item: without_autocommit(db, item.pk), {Item: ROWS}, modes=(AUTOCOMMIT,)
    ),
    "set_autocommit commits": Form(
        lambda db, item: autocommit_commits(db, item.pk), {Item: ROWS}, SQLITE, (AUTOCOMMIT,)
    ),
}


def _by_cursor(db: str, pk: int) -> None:
    with transaction.atomic(using=db):
        several(
            db,
            f"DECLARE here CURSOR FOR SELECT * FROM app_item WHERE id = {pk} FOR UPDATE",
            "FETCH here",
            f"{_new} WHERE CURRENT OF here",
            "CLOSE here",
        )


def _flushed(db: str) -> None:
    connection = connections[db]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), ["app_parcel"]))


def _committed_inside(db: str, pk: int, other: int) -> None:
    """A raw COMMIT that Django does not know of: what comes after it is in autocommit."""
    with transaction.atomic(using=db):
        several(db, f"{_new} WHERE id = {pk}", "COMMIT", f"{_new} WHERE id = {other}")


def _in_atomic(db: str, *texts: str) -> None:
    with transaction.atomic(using=db):
        several(db, *texts)


def _named(db: str, text: str, **params: Any) -> None:
    with connections[db].cursor() as cursor:
        cursor.execute(text, params)


def _script(db: str, text: str) -> None:
    with connections[db].cursor() as cursor:
        cursor.executescript(text)


DATABASE_CASCADES: dict[str, Form] = (
    {
        "DB_CASCADE": Form(lambda root, leaf: root.delete(), {catalog.Leaf: MODEL, catalog.Bird: MODEL}),
        "DB_CASCADE by queryset": Form(
            lambda db, root, leaf: of(catalog.Root, db).filter(pk=root.pk).delete(),
            {catalog.Leaf: MODEL, catalog.Bird: MODEL},
        ),
        "DB_CASCADE by statement": Form(
            lambda db, root, leaf, bird: raw(db, "DELETE FROM app_root WHERE id = %s", root.pk),
            {catalog.Leaf: MODEL, catalog.Bird: MODEL},
        ),
        "DB_CASCADE of a branch": Form(lambda branch, leaf: branch.delete(), {catalog.Leaf: MODEL}),
        "DB_SET_NULL": Form(lambda root, bird: root.delete(), {catalog.Leaf: MODEL, catalog.Bird: MODEL}),
    }
    if catalog.CASCADES_IN_DATABASE
    else {}
)

# last, for their rows stay
LARGE_FORMS: dict[str, Form] = {
    "bulk_create over 1000 rows": Form(
        lambda db: of(Article, db).bulk_create([Article(stamp="many") for _ in range(1050)]),
        {Article: ROWS},
        modes=(AUTOCOMMIT,),
    ),
    "bulk_create given text pks over 1000 rows": Form(
        lambda db, free_code: of(Country, db).bulk_create([Country(code=f"{free_code}{n}") for n in range(1050)]),
        {Country: ROWS},
        modes=(COMMIT,),
    ),
}

FORMS = ORM_FORMS | RAW_FORMS | DATABASE_CASCADES | LARGE_FORMS

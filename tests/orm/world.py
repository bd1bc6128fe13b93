"""One database with rows prepared by name, a reader in another thread, and what the server holds.

A form of write asks for prepared rows by its parameters' names, as a test asks for fixtures. All rows of all forms live
side by side: nothing is emptied in between, so a form finds its own rows by primary key or by their unique names.
"""

from __future__ import annotations

import inspect
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

import redis
from django.apps import apps
from django.db import connections
from django.db.models import AutoField, BigAutoField, Model, QuerySet

from django_cacheaside.orm import runtime
from django_cacheaside.orm.databases import identity
from django_cacheaside.orm.register import cached
from django_cacheaside.orm.registry import registry
from tests.app import catalog
from tests.app.catalog import (
    Article,
    Bill,
    Brand,
    Cafe,
    Country,
    Detail,
    Draft,
    Flag,
    Guest,
    Item,
    ItemProxy,
    ItemTag,
    Label,
    Ledger,
    Lot,
    Maker,
    Note,
    Parcel,
    Remark,
    Seat,
    Serial,
    Shelf,
    Singer,
    Song,
    Subject,
    Tag,
    Truck,
    Vehicle,
    Venue,
)

INTENT, VALUE, ABSENT = b"\xcaW", b"\xcaV", b"\xcaN"
MODEL = "the epoch of the model"

_KEY = re.compile(r"t:1:\{(?P<label>[\w.:,()]+)@(?P<database>[^}]+)\}(?P<kind>[elg]):?(?P<ident>.*)", re.DOTALL)
_numbers = count(1_000_000, 10_000)  # SQLite goes on from the largest key: leave room


def number() -> int:
    """A number that no other row has."""
    return next(_numbers)


def name() -> str:
    """A text that no other row has."""
    return f"n{number()}"


def made(model: type[Model], **values: Any) -> Callable[..., Model]:
    """Prepare a row. Values that are functions are asked when it is made."""

    def prepare(db: str) -> Model:
        asked = {key: value() if callable(value) else value for key, value in values.items()}
        return QuerySet(model).using(db).create(**asked)

    return prepare


def related(model: type[Model], **by_name: str) -> Callable[[World], Model]:
    """Prepare a row that refers to other prepared rows."""

    def prepare(world: World) -> Model:
        return QuerySet(model).using(world.db).create(**{field: world[row] for field, row in by_name.items()})

    return prepare


PREPARE: dict[str, Callable[..., Any]] = {
    "item": made(Item, name=name),
    "other": made(Item, name=name),
    "third": made(Item, name=name),
    "proxy": made(ItemProxy, name=name),
    "maker": made(Maker, name=name),
    "shelf": made(Shelf),
    "brand": made(Brand),
    "label": made(Label, name=name),
    "tag": made(Tag, name=name),
    "tag2": made(Tag, name=name),
    "of_maker": related(Item, maker="maker"),
    "of_maker2": related(Item, maker="maker"),
    "on_shelf": related(Item, shelf="shelf"),
    "of_brand": related(Item, brand="brand"),
    "link": related(ItemTag, item="item", tag="tag"),
    "link2": related(ItemTag, item="item", tag="tag2"),
    "detail": related(Detail, item="item"),
    "remark": related(Remark, item="item"),
    "venue": made(Venue, name=name),
    "cafe": made(Cafe, name=name),
    "vehicle": made(Vehicle, name=name),
    "truck": made(Truck, name=name),
    "ledger": made(Ledger, name=name),
    "article": made(Article, stamp=name),
    "article2": made(Article, stamp=name),
    "parcel": made(Parcel, name=name),
    "country": made(Country, code=name, name=name),
    "long": made(Country, code=lambda: name() * 20, name=name),
    "hashed": made(Country, code=lambda: "#" + name(), name=name),
    "umlaut": made(Country, code=lambda: "Zürich 日本 🙂 {x} %s " + name(), name=name),
    "flag": related(Flag, country="umlaut"),
    "serial": made(Serial, number=number, name=name),
    "seat": made(Seat, row=number, place=1, name=name),
    "guest": related(Guest, host="maker"),
    "bill": made(Bill),
    "lot": made(Lot, place=number),
    "subject": made(Subject),
    "subject2": made(Subject),
    "note": related(Note, about="subject"),
    "note2": related(Note, about="subject"),
    "singer": made(Singer),
    "singer2": made(Singer),
    "song": made(Song),
    "sung": related(Song.singers.through, song="song", singer="singer"),
    "draft": made(Draft, name=name),
    "untitled": made(Draft, name=None),
    "free": number,
    "free2": number,
    "free_uuid": uuid.uuid4,
    "free_code": name,
}
if catalog.CASCADES_IN_DATABASE:
    PREPARE |= {
        "root": made(catalog.Root),
        "branch": related(catalog.Branch, root="root"),
        "leaf": related(catalog.Leaf, branch="branch"),
        "bird": related(catalog.Bird, root="root"),
    }


class World:
    """Rows of one database, made when they are first asked for."""

    def __init__(self, db: str) -> None:
        self.db = db
        self.rows: dict[str, Any] = {}
        self.pks: dict[str, Any] = {}

    def __getitem__(self, wanted: str) -> Any:
        if wanted not in self.rows:
            prepare = PREPARE[wanted]
            asks = inspect.signature(prepare).parameters
            row = prepare(**{key: {"db": self.db, "world": self}[key] for key in asks})
            self.rows[wanted] = row
            self.pks[wanted] = row.pk if isinstance(row, Model) else row
        return self.rows[wanted]

    def prepared_for(self, act: Callable[..., Any]) -> dict[str, Any]:
        """The arguments that a form asks for."""
        return {key: self.db if key == "db" else self[key] for key in inspect.signature(act).parameters}

    def concerned(self, model: type[Model]) -> list[Any]:
        """Primary keys that a form may have to do with: of prepared rows, free ones, and the next that come by."""
        pk = model._meta.pk
        tables = {model._meta.db_table, *(parent._meta.db_table for parent in model._meta.get_parent_list())}
        of_rows = [
            row.pk
            for row in self.rows.values()
            if isinstance(row, Model)
            and not tables.isdisjoint(
                [row._meta.db_table, *(parent._meta.db_table for parent in row._meta.get_parent_list())]
            )
        ]
        target = pk
        while target.remote_field:
            target = target.target_field
        free = [value for key, value in self.rows.items() if key.startswith("free") and _fits(target, value)]
        coming = self._coming(target.model) if isinstance(target, (AutoField, BigAutoField)) else []
        return list(dict.fromkeys([*of_rows, *free, *coming]))

    def _coming(self, model: type[Model]) -> list[int]:
        table, column = model._meta.db_table, model._meta.pk.column
        sql = {
            "sqlite": f"SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = '{table}'",
            "postgresql": f"SELECT nextval(pg_get_serial_sequence('{table}', '{column}'))",
            "mysql": "SELECT coalesce(auto_increment, 1) - 1 FROM information_schema.tables "
            f"WHERE table_schema = DATABASE() AND table_name = '{table}'",
        }[connections[self.db].vendor]
        with connections[self.db].cursor() as cursor:
            cursor.execute(sql)
            (last,) = cursor.fetchone()
        return [last + 1, last + 2, last + 3]


def _fits(field: Any, value: Any) -> bool:
    kind = field.get_internal_type()
    return isinstance(value, {"UUIDField": uuid.UUID, "CharField": str, "CompositePrimaryKey": tuple}.get(kind, int))


def values(instance: Model) -> dict[str, Any]:
    """The columns of an instance."""
    return {field.attname: getattr(instance, field.attname) for field in instance._meta.concrete_fields}


def in_database(model: type[Model], db: str, pks: Iterable[Any] | None = None) -> dict[Any, dict[str, Any]]:
    """Rows as the database has them, past every manager of ours."""
    rows = QuerySet(model).using(db).order_by()
    rows = rows if pks is None else rows.filter(pk__in=list(pks))
    names = [field.attname for field in model._meta.pk_fields]
    return {row[names[0]] if len(names) == 1 else tuple(row[one] for one in names): row for row in rows.values()}


def in_cache(model: Any, db: str, pks: list[Any]) -> dict[Any, dict[str, Any]]:
    """Rows as ``cached`` serves them, in a batch; the first of them alone must be the same."""
    rows_of_model = cached(model).using(db)
    if len(model._meta.pk_fields) > 1:
        return {row.pk: values(row) for row in rows_of_model.filter(pk__in=pks)}
    rows = {pk: values(row) for pk, row in rows_of_model.in_bulk(pks).items()}
    for pk in pks[:1]:
        try:
            alone = values(rows_of_model.get(pk=pk))
        except model.DoesNotExist:
            alone = None
        assert alone == rows.get(pk)
    return rows


@dataclass(frozen=True)
class Served:
    """What a reader got."""

    rows: dict[Any, dict[str, Any]]
    statements: int
    """Sent to the database for it."""


def served(label: str, db: str, pks: list[Any]) -> Served:
    """As ``in_cache``, and how often the database was asked. By the model's label: that of a model which Django makes
    for a relation can be sent to another process, the class can't.
    """
    model = apps.get_model(label)
    sent = []

    def count(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        sent.append(sql)
        return execute(sql, params, many, context)

    with connections[db].execute_wrapper(count):
        return Served(in_cache(model, db, pks), len(sent))


class Server:
    """What is really in Valkey."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def empty(self) -> None:
        """Drop every value, lease, intent and epoch; not what processes have announced to each other."""
        keys = [key for key in self._client.scan_iter(count=10_000) if not key.startswith(b"cacheaside:")]
        if keys:
            self._client.delete(*keys)

    def forget_processes(self) -> None:
        """Drop what processes have announced to each other: those of earlier modules count for 33 s yet."""
        announced = list(self._client.scan_iter(match="cacheaside:*", count=10_000))
        if announced:
            self._client.delete(*announced)

    def contents(self) -> Iterator[tuple[dict[str, str], bytes]]:
        """Each key of ours, in parts, and its bytes."""
        keys = list(self._client.scan_iter(count=10_000))
        for key, raw in zip(keys, self._client.mget(keys) if keys else [], strict=True):
            if raw is not None and (parts := _KEY.fullmatch(key.decode())):
                yield parts.groupdict(), raw

    def values(self) -> Iterator[tuple[str, bytes]]:
        """Each value of ours, by its key."""
        for parts, raw in self.contents():
            if raw[:2] in (VALUE, ABSENT):
                yield "{label}@{database} {ident}".format(**parts), raw

    def intents(self) -> set[tuple[str, str, str]]:
        """Label, database and row (or MODEL) of each write intent that stands now."""
        return {
            (parts["label"], parts["database"], parts["ident"] if parts["kind"] == "e" else MODEL)
            for parts, raw in self.contents()
            if raw.startswith(INTENT)
        }

    def ttl_ms(self, model: type[Model], db: str, pk: Any) -> int:
        """How long a row's entry still lives."""
        place = runtime.current().place(registry.for_model(model), connections[db])
        return int(self._client.pttl(place.space.entry(ident(model, db, pk))))

    def warm_rows(self, model: type[Model], db: str) -> set[str]:
        """The rows of a model that the server holds as present or as missing."""
        here = (model._meta.label_lower, identity(connections[db]))
        return {
            parts["ident"]
            for parts, raw in self.contents()
            if (parts["label"], parts["database"]) == here and parts["kind"] == "e" and raw[:2] in (VALUE, ABSENT)
        }


def ident(model: type[Model], db: str, pk: Any) -> str:
    """A row's part of its keys."""
    place = runtime.current().place(registry.for_model(model), connections[db])
    assert place.key is not None
    return place.key.ident(pk)


class Elsewhere:
    """Another thread, with connections of its own."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1)

    def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function there."""
        return self._executor.submit(function, *args, **kwargs).result(timeout=30)

    def close(self) -> None:
        """End the thread and its connections."""
        self(connections.close_all)
        self._executor.shutdown()

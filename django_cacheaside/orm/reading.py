"""Instances by primary key through the cache: what ``Model.cached`` serves, and when it leaves a read to Django."""

from __future__ import annotations

from asyncio import _get_running_loop as get_running_loop  # Django's check by itself takes 0.6 µs of a hit
from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any, Generic, TypeVar

from django.db import connections, router
from django.db.models import Model
from django.utils.asyncio import async_unsafe

from django_cacheaside.engine.access import Access
from django_cacheaside.engine.source import MISSING, Missing
from django_cacheaside.engine.tally import Event, Tally
from django_cacheaside.exceptions import OtherSpellingError
from django_cacheaside.orm import runtime
from django_cacheaside.orm.access import access_of
from django_cacheaside.orm.connection_state import state_of
from django_cacheaside.orm.databases import connection_of, may_serve
from django_cacheaside.orm.index.find import find_row, find_rows
from django_cacheaside.orm.index.index import Index
from django_cacheaside.orm.index.source import IndexSource, Values
from django_cacheaside.orm.instances import instance_builder
from django_cacheaside.orm.places import Place
from django_cacheaside.orm.registry import registry
from django_cacheaside.orm.rows import Row, RowSource
from django_cacheaside.orm.switch import is_disabled
from django_cacheaside.store.writes import Writes

M = TypeVar("M", bound=Model)


class Reading(Generic[M]):
    """One read of a model, begun now: where from, and what it may do with the cache."""

    __slots__ = ("_access", "_is_last", "_model", "_runtime", "_source", "_written", "place")

    def __init__(
        self,
        model: type[M],
        current: runtime.Runtime,
        place: Place,
        source: RowSource,
        access: Access,
        written: Writes,
        *,
        is_last: bool,
    ) -> None:
        self.place = place
        self._model = model
        self._runtime = current
        self._source = source
        self._access = access
        self._written = written
        self._is_last = is_last

    def one(self, spelt: object) -> M | Missing | None:
        """One instance, ``MISSING`` if there is no such row, None if Django must answer. A hit is one round trip."""
        source = self._source
        pk = source.key.value(spelt)
        if pk is None:
            return None
        if self._written and self._written.covers(source.space, source.ident(pk)):
            self._count_written(1)
            return None
        try:
            row = self._runtime.fetcher.fetch_one(source, pk, self._access)
        except OtherSpellingError:
            return None
        return row if isinstance(row, Missing) else self.build((row,))[0]

    def many(self, spelt: Iterable[object]) -> dict[Any, M] | None:
        """Those that exist, by primary key, in the order asked for; None if Django must answer.

        Round trips as for one.
        """
        found = self.rows(spelt)
        return None if found is None else dict(zip(found, self.build(found.values()), strict=True))

    def rows(self, spelt: Iterable[object]) -> dict[Any, Row] | None:
        """As ``many``, the rows themselves."""
        source, written = self._source, self._written
        pks = dict.fromkeys(source.key.values(spelt))
        if None in pks:
            return None
        if written and any(written.covers(source.space, source.ident(pk)) for pk in pks):
            self._count_written(len(pks))
            return None
        try:
            rows = self._runtime.fetcher.fetch(source, list(pks), self._access)
        except OtherSpellingError:
            return None
        return {pk: row for pk, row in rows.items() if row is not MISSING}  # type: ignore[misc]  # there is one of its kind

    def by_index(self, index: Index, keys: Iterable[Sequence[object]]) -> dict[Values, list[Row] | None] | None:
        """The rows of each key, each the values of a declared key's columns; None if Django must answer.

        None in place of the rows of one key says the same of that key alone. Round trips as ``find_rows``.
        """
        source = self._source_of(index)
        if source is None:
            return None
        values = dict.fromkeys(map(source.naming.values, keys))
        if None in values:
            return None
        known = [one for one in values if one is not None]
        try:
            return find_rows(self._runtime.fetcher, source, self._source, known, self._access)
        except OtherSpellingError:
            return None

    def one_by_index(self, index: Index, spelt: Sequence[object]) -> M | Missing | None:
        """As ``one``, by the values of a ``Unique``. A hit is two round trips."""
        source = self._source_of(index)
        values = None if source is None else source.naming.values(spelt)
        if source is None or values is None:
            return None
        try:
            row = find_row(self._runtime.fetcher, source, self._source, values, self._access)
        except OtherSpellingError:
            return None
        return row if row is None or isinstance(row, Missing) else self.build((row,))[0]

    def _source_of(self, index: Index) -> IndexSource | None:
        """The entries of a declared key; None if they are not served to this read."""
        source, written = index.source, self._written
        if source is None:
            return None
        if written and not written.spaces().isdisjoint((index.space, self._source.space)):
            self._count_written(1)
            return None
        return self._watched(source)

    def _count_written(self, times: int) -> None:
        if self._is_last:
            self._source.tally.add(Event.WRITTEN, times)

    def watched_by(self, watcher: Tally) -> None:
        """Count what this read does into ``watcher`` too."""
        self._source = copy(self._source)
        self._source.tally = _Watched(self._source.tally, watcher)

    def _watched(self, source: IndexSource) -> IndexSource:
        if not isinstance(self._source.tally, _Watched):
            return source
        source = copy(source)
        source.tally = self._source.tally
        return source

    def build(self, rows: Iterable[Any]) -> list[Any]:
        """Instances of rows."""
        source = self._source
        build = source.builders.get(self._model)
        if build is None:
            build = source.builders[self._model] = instance_builder(self._model, source.attnames, mark=source.mark)
        return build(source.alias, rows)


class _Watched(Tally):
    """Counts twice: for the model, and for who watches one read."""

    __slots__ = ("_watcher",)

    def __init__(self, tally: Tally, watcher: Tally) -> None:
        self.counts = tally.counts
        self.drops = tally.drops
        self.round_trips = tally.round_trips
        self.load_times = tally.load_times
        self._watcher = watcher

    def add(self, event: Event, times: int = 1) -> None:
        super().add(event, times)
        self._watcher.add(event, times)


def alias_of(rows: Any) -> str | None:
    """The database that a manager or queryset reads, by ``using()`` or by its hints; None for the router's choice.

    ``order.product`` hints at the order: its product is in the order's database.
    """
    if rows._db is None and rows._hints:
        return router.db_for_write(rows.model, **rows._hints)
    alias: str | None = rows._db
    return alias


@async_unsafe(
    "You cannot read the cache or the database from an async context: use aget(), ain_bulk() or sync_to_async."
)
def refuse_event_loop() -> None:
    """As Django does for the database: a hit would block the event loop as well."""


def begin_reading(model: type[M], alias: str | None, *, is_last: bool = False) -> Reading[M] | None:
    """Begin a read on this thread's connection, or None if the database must be read by Django itself.

    Args:
        alias: What ``using()`` named; None for the router's choice for writes. A replica's alias is read as it is.
        is_last: Will nobody else ask for the same on the way to the database? Then what goes past the cache is counted.
    """
    is_in_loop = get_running_loop() is not None
    if is_in_loop:
        refuse_event_loop()  # unless DJANGO_ALLOW_ASYNC_UNSAFE says otherwise
    if alias is None:
        alias = router.db_for_write(model)
    elif not may_serve(alias, model):
        _count_passed(model, Event.REPLICA, is_last=is_last)
        return None
    current = runtime.current()
    if not current.settings.ENABLED or is_disabled():
        _count_passed(model, Event.DISABLED, is_last=is_last)
        return None
    connection = connections[alias] if is_in_loop else connection_of(alias)
    state = state_of(connection)
    access = access_of(connection, state)
    if access is None:
        _count_passed(model, Event.IN_SNAPSHOT, is_last=is_last)
        return None
    place = current.place(registry.for_model(model), connection)
    source = place.source
    if source is None:
        _count_passed(model, Event.UNCACHED_KEY, is_last=is_last)
        return None
    return Reading(model, current, place, source, access, state.writes, is_last=is_last)


def _count_passed(model: type[Model], reason: Event, *, is_last: bool) -> None:
    """Count a read that Django answers by itself: one, however many rows it asks for."""
    if is_last:
        registry.for_model(model).tally.add(reason)

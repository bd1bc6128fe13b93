"""The rows of one model on their way into the cache, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError
from django.db import connections
from django.db.models import Model, QuerySet

from django_cacheaside.engine.access import Access
from django_cacheaside.engine.source import Source
from django_cacheaside.engine.tally import Event, Tally
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.orm.access import access_of
from django_cacheaside.orm.connection_state import state_of
from django_cacheaside.orm.rows import Row, RowSource
from django_cacheaside.orm.runtime import Runtime


class CountedSource(Source[Any, Row]):
    """The same rows, counted apart from what else this process reads. ``encoded_bytes``: their payloads' sizes."""

    def __init__(self, rows: RowSource) -> None:
        self.space, self.policy, self.tally = rows.space, rows.policy, Tally()
        self.ident = rows.ident
        self.schemas = rows.schemas
        self.encoded_bytes = 0
        self._rows = rows

    def load(self, pks: Sequence[Any], /) -> dict[Any, Row]:
        return self._rows.load(pks)

    def is_shared(self, error: Exception, /, *, rows: int) -> bool:
        return self._rows.is_shared(error, rows=rows)

    def encode(self, pk: Any, row: Row, /) -> bytes:
        payload = self._rows.encode(pk, row)
        self.encoded_bytes += len(payload)
        return payload

    def decode_many(self, pks: Sequence[Any], raws: Sequence[bytes], at: int, /) -> Sequence[Row] | None:
        return self._rows.decode_many(pks, raws, at)

    def decode(self, pk: Any, raw: bytes, at: int, /) -> Row:
        return self._rows.decode(pk, raw, at)


class UnloadedSource(CountedSource):
    """Rows that are looked for in the cache only."""

    def load(self, _pks: Sequence[Any], /) -> dict[Any, Row]:
        return {}


class Warming:
    """The work on one model in one database.

    Attributes:
        rows: Rows done, valid ones included.
        last: The primary key of the last of them, None before the first chunk: where to go on.

    Args:
        after: Begin behind this primary key; None for the first.
        limit: Rows to do at most; None for all.
        is_dry_run: Count the rows to fill and leave them.
    """

    def __init__(
        self, runtime: Runtime, rows: RowSource, model: type[Model], *, after: Any, limit: int | None, is_dry_run: bool
    ) -> None:
        self.label = model._meta.label
        self.rows = 0
        self.last = after
        self._runtime = runtime
        self._alias = rows.alias
        self._limit = limit
        self._is_dry_run = is_dry_run
        # every row by its primary key, as a reader gets it: no manager's filter
        self._all: QuerySet[Model] = QuerySet(model).using(rows.alias).order_by("pk")
        self._source = UnloadedSource(rows) if is_dry_run else CountedSource(rows)

    def total(self) -> int:
        """Rows to do. One COUNT."""
        return self._behind(self.last)[: self._limit].count()

    def warm_chunk(self, size: int) -> bool:
        """Fill up to ``size`` rows; False if there was none left. One SELECT of primary keys, one of the missing rows.

        Raises:
            StoreUnavailableError: The server did not answer: this chunk may be filled in part.
            CommandError: The connection is in a transaction, whose rows nobody else may see yet; or others make the
                database's keys differently.
        """
        left = size if self._limit is None else min(size, self._limit - self.rows)
        pks = list(self._behind(self.last).values_list("pk", flat=True)[:left]) if left else []
        if not pks:
            return False
        breaker = self._runtime.invalidator.breaker
        agreement = self._runtime.agreements.get(self._source.space.database)
        if agreement is not None and not agreement.holds():
            raise CommandError("other processes make the keys of this database differently: the log says how.")
        self._runtime.fetcher.fetch(self._source, pks, Access.LOOK if self._is_dry_run else self._access())
        if breaker.is_open:
            self._runtime.store.probe()
            raise StoreUnavailableError("it did not answer in time, or this process has an invalidation to tell it")
        self.rows += len(pks)
        self.last = pks[-1]
        return True

    def summary(self, *, elapsed_s: float) -> str:
        """What was done, in one line."""
        counts = self._source.tally.counts
        valid = counts[Event.HIT] + counts[Event.NEGATIVE_HIT]
        if self._is_dry_run:
            return f"{self.label}: {self.rows:,} rows, {self.rows - valid:,} to fill, {valid:,} cached already."
        filled = counts[Event.FILL]
        speed = self.rows / elapsed_s if elapsed_s else 0.0
        others = self.rows - filled - valid
        return (
            f"{self.label}: {self.rows:,} rows in {elapsed_s:.1f} s ({speed:,.0f} rows/s): "
            f"{filled:,} filled ({self._source.encoded_bytes:,} bytes), {valid:,} cached already"
            + (f", {others:,} left alone: being written or filled by others, or not cacheable." if others else ".")
        )

    def _behind(self, pk: Any) -> QuerySet[Model]:
        return self._all if pk is None else self._all.filter(pk__gt=pk)

    def _access(self) -> Access:
        connection = connections[self._alias]
        access = access_of(connection, state_of(connection))
        if access is None or access is Access.LOOK:
            raise CommandError("warm runs outside of transactions: what it fills, everybody sees.")
        return access

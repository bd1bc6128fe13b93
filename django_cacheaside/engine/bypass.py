"""Reads that go past the cache: a COMMIT is open, or the server is away. Nothing of them is filled."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from django_cacheaside.engine.access import Access
from django_cacheaside.engine.flight import QueuedFlights
from django_cacheaside.engine.source import MISSING, K, Missing, R, Source, body_of, row_of
from django_cacheaside.engine.tally import Event, Tally
from django_cacheaside.exceptions import CacheAsideOverloaded, UncacheableRowError
from django_cacheaside.failpoints import reach


class Bypass:
    """Rows from the database. One per process; safe to share between threads.

    Args:
        limit: How many reads may be at the database at once because the server is away; None for any number.
        wait_s: How long one waits for its turn.
    """

    def __init__(self, *, limit: int | None = None, wait_s: float = 0.0) -> None:
        self._queued: QueuedFlights[bytes] = QueuedFlights()
        self._turns = None if limit is None else threading.BoundedSemaphore(limit)
        self._wait_s = wait_s

    def load(self, source: Source[K, R], pks: Sequence[K]) -> dict[K, R | Missing]:
        """Rows, in one SELECT of the reader's own."""
        if not pks:
            return {}
        source.tally.add(Event.DATABASE_READ, len(pks))
        reach("before-bypass")
        found = source.load(pks)
        reach("after-bypass")
        return {pk: found.get(pk, MISSING) for pk in pks}

    def load_one(self, source: Source[K, R], pk: K, ident: str, access: Access) -> R | Missing:
        """One row; concurrent readers of it share the loads that begin after them."""
        return self._share(source, pk, ident, access, nullcontext())

    def fall_back(self, source: Source[K, R], pks: Sequence[K], access: Access) -> dict[K, R | Missing]:
        """As ``load``, because the server is away: within the limit.

        Raises:
            CacheAsideOverloaded: As many as may are at the database, and still are after the wait.
        """
        if not pks:
            return {}
        with self._turn(source, access):
            return self.load(source, pks)

    def fall_back_to_one(self, source: Source[K, R], pk: K, ident: str, access: Access) -> R | Missing:
        """As ``load_one``, because the server is away: within the limit. Raises as ``fall_back`` does."""
        if self._turns is not None and access is Access.IN_TRANSACTION:  # whom it joined might wait for a turn
            return self.fall_back(source, [pk], access)[pk]
        return self._share(source, pk, ident, access, self._turn(source, access))

    def _turn(self, source: Source[K, R], access: Access) -> AbstractContextManager[object]:
        """A turn at the database. A transaction that has written needs none; one that is open waits for none."""
        if self._turns is None or access is Access.LOOK:
            return nullcontext()
        return _Turn(self._turns, 0.0 if access is Access.IN_TRANSACTION else self._wait_s, source.tally)

    def _share(
        self, source: Source[K, R], pk: K, ident: str, access: Access, turn: AbstractContextManager[object]
    ) -> R | Missing:
        if access is Access.LOOK:  # a transaction that has written must not wait for others, nor show them its rows
            return self.load(source, [pk])[pk]
        mine: list[R | Missing] = []

        def load() -> bytes | None:
            with turn:
                mine.append(self.load(source, [pk])[pk])
            try:
                return body_of(source, pk, mine[0])
            except UncacheableRowError:
                return None

        body = self._queued.load(source.space.entry(ident), load, is_shared=partial(source.is_shared, rows=1))
        if mine:
            return mine[0]
        if body is None:
            with turn:
                return self.load(source, [pk])[pk]
        source.tally.add(Event.SHARED)
        return row_of(source, pk, body)


class _Turn:
    """Entered by one read at a time, as often as it likes."""

    def __init__(self, turns: threading.BoundedSemaphore, wait_s: float, tally: Tally) -> None:
        self._turns = turns
        self._wait_s = wait_s
        self._tally = tally

    def __enter__(self) -> None:
        if not self._turns.acquire(timeout=self._wait_s):
            self._tally.add(Event.OVERLOADED)
            raise CacheAsideOverloaded(
                "The cache server is away, and as many reads as FALLBACK_LIMIT allows are at the database already."
            )

    def __exit__(self, *_: object) -> None:
        self._turns.release()

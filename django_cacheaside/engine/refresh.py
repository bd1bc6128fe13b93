"""Rows loaded again while their old values are served, and after a write.

A value that has outlived its time to live, but was not invalidated, is served for ``stale_ms`` more. The first reader
who meets it has it loaded again under a lease of its own; all others are served meanwhile, and still are if that load
fails (RFC 5861's stale-while-revalidate and stale-if-error in one).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django_cacheaside.clock import Clock
from django_cacheaside.engine.access import Access
from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.engine.lead import Lead
from django_cacheaside.engine.source import K, Missing, R, Sought, Source
from django_cacheaside.engine.tally import Event
from django_cacheaside.store.store import Store

logger = logging.getLogger("django_cacheaside")

REST_S = 1.0
"""After a failed load: how long this process does not try that row again, in seconds."""

MOST_RESTING = 10_000
"""Rows that are remembered as resting; beyond that the oldest are tried again earlier."""

Later = Callable[[Callable[[], object]], bool]
"""Has something done in the background: False if that is not possible now, and it will not be done."""


class Refresher:
    """One per process; safe to share between threads.

    Args:
        later: Where rows are loaded. Sources whose rows can only be loaded where they are read don't use it: their
            first reader loads, and is served what it loaded.
    """

    def __init__(self, store: Store, breaker: Breaker, clock: Clock, *, later: Later) -> None:
        self._store = store
        self._breaker = breaker
        self._clock = clock
        self._later = later
        self._lock = threading.Lock()
        self._until_s: dict[str, float] = {}
        """Entries that are not to be tried: until when; infinity while they are loaded."""

    def refresh(self, source: Source[K, R], stale: Mapping[K, Sought[K]], access: Access) -> Mapping[K, R | Missing]:
        """Have rows loaded again that are served stale.

        Returns:
            Those that are newer now; none if they are loaded in the background, or by somebody else.

        Raises:
            Exception: What the load raised, if it was made in the reader's own transaction, which may be broken now.
        """
        source.tally.add(Event.STALE_HIT, len(stale))
        if access is Access.LOOK:
            return {}
        ours = self._take(source, list(stale.values()))
        if not ours:
            return {}
        if source.loads_in_background:
            if not self._later(lambda: self._load(source, ours)):
                self._give_back(source, ours, rest_s=0.0)
            return {}
        return self._load(source, ours, is_in_transaction=access is Access.IN_TRANSACTION)

    def _load(
        self, source: Source[K, R], ours: Sequence[Sought[K]], *, is_in_transaction: bool = False
    ) -> Mapping[K, R | Missing]:
        rest_s = REST_S
        try:
            rows = Lead(
                self._store, self._breaker, self._clock, source, fall_back=_nothing, close=_nothing, publish=_nothing
            ).refresh(ours)
            rest_s = 0.0
        except Exception as error:
            if is_in_transaction:
                raise
            source.tally.add(Event.FAILED_REFRESH, len(ours))
            logger.warning("%d rows of %s are served stale: %s", len(ours), source.space.label, error)
            return {}
        else:
            source.tally.add(Event.REFRESH, len(rows))
            # another process loads the others: who asks for it at each read of a hot row would gain nothing
            waits_s = source.policy.wait_ms / 1000
            self._give_back(source, [one for one in ours if one.pk not in rows], rest_s=waits_s)
            ours = [one for one in ours if one.pk in rows]
            return rows
        finally:
            self._give_back(source, ours, rest_s=rest_s)

    def _take(self, source: Source[K, R], stale: Sequence[Sought[K]]) -> list[Sought[K]]:
        """Those that nobody in this process loads, and that do not rest."""
        now_s = self._clock.monotonic_s()
        ours = []
        with self._lock:
            for one in stale:
                key = source.space.entry(one.ident)
                if self._until_s.get(key, 0.0) <= now_s:
                    self._until_s[key] = float("inf")
                    ours.append(one)
        return ours

    def _give_back(self, source: Source[K, R], ours: Sequence[Sought[K]], *, rest_s: float) -> None:
        until_s = self._clock.monotonic_s() + rest_s
        with self._lock:
            for one in ours:
                self._until_s.pop(source.space.entry(one.ident), None)
            if rest_s:
                for one in ours[: MOST_RESTING // 10]:
                    self._until_s[source.space.entry(one.ident)] = until_s
            while len(self._until_s) > MOST_RESTING:
                self._until_s.pop(next(iter(self._until_s)))


def _nothing(*_: object) -> Mapping[Any, Any]:
    """Nobody waits for what is refreshed."""
    return {}

"""Loads under a lease, shared by the readers of this process: each row is loaded by one of them."""

from __future__ import annotations

from collections.abc import Sequence

from django_cacheaside.clock import Clock
from django_cacheaside.engine.access import Access
from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.engine.bypass import Bypass
from django_cacheaside.engine.flight import LeasedFlights
from django_cacheaside.engine.lead import Lead
from django_cacheaside.engine.source import K, Missing, R, Sought, Source, row_of
from django_cacheaside.engine.tally import Event
from django_cacheaside.failpoints import reach
from django_cacheaside.store.store import Store


class SharedLoads:
    """One per process; safe to share between threads."""

    def __init__(self, store: Store, breaker: Breaker, clock: Clock, bypass: Bypass) -> None:
        self._store = store
        self._breaker = breaker
        self._clock = clock
        self._bypass = bypass
        self._flights: LeasedFlights[bytes] = LeasedFlights()

    def load(
        self, source: Source[K, R], missed: Sequence[Sought[K]], bypassed: Sequence[K], access: Access
    ) -> tuple[dict[K, R | Missing], list[K]]:
        """Load what nobody in this process loads yet, and take the rest from those who do.

        Args:
            bypassed: Read in the same SELECT, never filled.

        Returns:
            The rows, and those whose load turned out to be one that can't be shared.
        """
        key, flights = source.space.entry, self._flights
        own, joined = flights.board([key(one.ident) for one in missed])
        rows: dict[K, R | Missing] = {}
        failure: Exception | None = None
        try:
            ours = [one for one in missed if key(one.ident) in own]
            if ours:
                lead = Lead(
                    self._store,
                    self._breaker,
                    self._clock,
                    source,
                    fall_back=lambda pks: self._bypass.fall_back(source, pks, access),
                    close=lambda loaded: flights.close({(k := key(one.ident)): own[k] for one in loaded}),
                    publish=lambda one, body: own[key(one.ident)].land(body),
                )
                rows = lead.run(ours, bypassed)
            elif bypassed:
                rows = self._bypass.load(source, bypassed)
        except Exception as error:
            failure = error if source.is_shared(error, rows=len(missed) + len(bypassed)) else None
            raise
        finally:
            flights.close(own)
            for flight in own.values():
                flight.land(flight.result, failure)
        unshared: list[K] = []
        for one in missed:
            other = joined.get(key(one.ident))
            if other is not None:
                reach("before-join")
                body = other.wait()
                if body is None:
                    unshared.append(one.pk)
                else:
                    shared = row_of(source, one.pk, body)
                    rows[one.pk] = shared
        source.tally.add(Event.SHARED, len(joined) - len(unshared))
        return rows, unshared

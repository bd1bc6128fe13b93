"""The whole move of a read: look, and on a miss lease, load and fill; and every way past the cache.

Rows are what the source makes of them; between readers they travel as bytes, so that no two share a mutable value. A
batch takes each step once for all its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from django_cacheaside.clock import Clock
from django_cacheaside.engine.access import Access
from django_cacheaside.engine.agreement import Agreement, Agreements
from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.engine.bypass import Bypass
from django_cacheaside.engine.flight import LeasedFlights
from django_cacheaside.engine.lead import Lead
from django_cacheaside.engine.look import Look
from django_cacheaside.engine.refresh import Refresher
from django_cacheaside.engine.source import MISSING, K, Missing, R, Sought, Source, row_of
from django_cacheaside.engine.tally import Event
from django_cacheaside.exceptions import StoreUnavailableError, UndecodableEntryError
from django_cacheaside.failpoints import reach
from django_cacheaside.store.envelope import HEADER_SIZE, Found, is_stale, judge
from django_cacheaside.store.store import Store


class Fetcher:
    """Reads rows through the cache. One per process; safe to share between threads.

    Args:
        breaker: Says whether the server is to be asked at all.
        agreements: Say whether the keys of a database are everybody's.
        bypass: Reads the database where the cache can't be used.
        refresher: Loads again what is served stale.
    """

    def __init__(
        self,
        store: Store,
        breaker: Breaker,
        agreements: Agreements,
        clock: Clock,
        *,
        bypass: Bypass,
        refresher: Refresher,
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._agreement_of = agreements.get
        self._clock = clock
        self._now_s = clock.monotonic_s
        self._bypass = bypass
        self._refresher = refresher
        self._leased: LeasedFlights[bytes] = LeasedFlights()

    def fetch_one(self, source: Source[K, R], pk: K, access: Access) -> R | Missing:
        """One row. A hit is one round trip and no SQL; a miss is three and one SELECT."""
        breaker, ident = self._breaker, source.ident(pk)
        if breaker.is_open and not breaker.lets_through():
            return self._bypass.fall_back_to_one(source, pk, ident, access)
        agreement = self._agreement_of(source.space.database)
        if agreement is not None and self._now_s() >= agreement.due_s and not self._holds(agreement, source, 1):
            return self._bypass.fall_back_to_one(source, pk, ident, access)
        try:
            seen = self._store.read_one(source.space, ident)
        except StoreUnavailableError as error:
            breaker.open(error)
            return self._bypass.fall_back_to_one(source, pk, ident, access)
        found = judge(seen.run, seen.epoch, seen.entry)
        if found is Found.HIT and seen.entry is not None:
            try:
                row = source.decode(pk, seen.entry, HEADER_SIZE)
            except UndecodableEntryError as error:
                return self._fetch_doubtful(source, Sought(pk, ident, seen.run, seen.entry), error, access)
            if source.policy.stale_ms and is_stale(seen.entry, self._store.now_ms()):
                stale = Sought(pk, ident, seen.run, seen.entry)
                return self._refresher.refresh(source, {pk: stale}, access).get(pk, row)
            source.tally.add(Event.HIT)
            return row
        if found is Found.NEGATIVE_HIT:
            source.tally.add(Event.NEGATIVE_HIT)
            return MISSING
        if found is Found.BYPASS:
            source.tally.add(Event.BYPASS)
            return self._bypass.load_one(source, pk, ident, access)
        source.tally.add(Event.MISS)
        if access is Access.LOOK:
            return self._bypass.load(source, [pk])[pk]
        return self._lead(source, [Sought(pk, ident, seen.run, seen.entry)], [], access)[pk]

    def _fetch_doubtful(
        self, source: Source[K, R], one: Sought[K], error: UndecodableEntryError, access: Access
    ) -> R | Missing:
        """One row of which there is a valid entry that could not be decoded at first sight."""
        look = Look(self._store, source)
        try:
            look.sort_out([(one, error)])
        except StoreUnavailableError as unavailable:
            self._breaker.open(unavailable)
            return self._bypass.fall_back_to_one(source, one.pk, one.ident, access)
        if look.rows:
            source.tally.add(Event.HIT)
            return look.rows[one.pk]
        if look.bypassed:
            source.tally.add(Event.BYPASS)
            return self._bypass.load_one(source, one.pk, one.ident, access)
        source.tally.add(Event.MISS)
        if access is Access.LOOK:
            return self._bypass.load(source, [one.pk])[one.pk]
        return self._lead(source, look.missed, [], access)[one.pk]

    def fetch(
        self,
        source: Source[K, R],
        pks: Sequence[K],
        access: Access,
        *,
        outdated: Callable[[dict[K, R]], Iterable[K]] | None = None,
    ) -> dict[K, R | Missing]:
        """Many rows, distinct primary keys, in their order. Round trips as for one.

        Args:
            outdated: Tells which of the hits turned out to be wrong, where a hit is not the last word: they are loaded
                and filled with what was missed.
        """
        if not pks or not self._breaker.lets_through():
            return self._bypass.fall_back(source, pks, access)
        agreement = self._agreement_of(source.space.database)
        if agreement is not None and not self._holds(agreement, source, len(pks)):
            return self._bypass.fall_back(source, pks, access)
        look = Look(self._store, source, keeps_hits=outdated is not None)
        try:
            look.at(pks)
        except StoreUnavailableError as error:
            self._breaker.open(error)
            return self._bypass.fall_back(source, pks, access)
        rows, missed, bypassed = look.rows, look.missed, look.bypassed
        if look.stale:
            for pk, row in self._refresher.refresh(source, look.stale, access).items():
                rows[pk] = row
                if look.hits is not None:
                    del look.hits[pk]
        if outdated is not None and look.hits:
            wrong = list(outdated({pk: rows[pk] for pk in look.hits}))  # type: ignore[misc]  # hits are rows
            source.tally.add(Event.OUTDATED, len(wrong))
            for pk in wrong:
                del rows[pk]
                missed.append(look.hits[pk])
        if not missed and not bypassed:
            return rows
        if missed and access is not Access.LOOK:
            led = self._lead(source, missed, bypassed, access)
            rows.update(led)
        else:
            loaded = self._bypass.load(source, [*(one.pk for one in missed), *bypassed])
            rows.update(loaded)
        return {pk: rows[pk] for pk in pks}

    def _holds(self, agreement: Agreement, source: Source[K, R], rows: int) -> bool:
        """Is the database's cache everybody's, as far as this process knows or can ask?"""
        try:
            if agreement.holds():
                return True
        except StoreUnavailableError as error:
            self._breaker.open(error)
        else:
            source.tally.add(Event.CONTESTED, rows)
        return False

    def _lead(
        self, source: Source[K, R], missed: Sequence[Sought[K]], bypassed: Sequence[K], access: Access
    ) -> dict[K, R | Missing]:
        """Load what nobody in this process loads yet, and take the rest from those who do."""
        key = source.space.entry
        own, joined = self._leased.board([key(one.ident) for one in missed])
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
                    close=lambda loaded: self._leased.close({(k := key(one.ident)): own[k] for one in loaded}),
                    publish=lambda one, body: own[key(one.ident)].land(body),
                )
                rows = lead.run(ours, bypassed)
            elif bypassed:
                rows = self._bypass.load(source, bypassed)
        except Exception as error:
            failure = error if source.is_shared(error) else None
            raise
        finally:
            self._leased.close(own)
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
        if unshared:
            again = self._look_again(source, unshared)
            rows.update(again)
        return rows

    def _look_again(self, source: Source[K, R], pks: Sequence[K]) -> dict[K, R | Missing]:
        """Who joined a load that could not be shared: the row may be there by now, else it is read without a fill."""
        if len(pks) > 1:
            return self.fetch(source, pks, Access.LOOK)
        pk = pks[0]
        return {pk: self._bypass.load_one(source, pk, source.ident(pk), Access.FULL)}

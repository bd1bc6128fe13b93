"""The whole move of a read: look, and on a miss lease, load and fill; and every way past the cache.

Rows are what the source makes of them; between readers they travel as bytes, so that no two share a mutable value. A
batch takes each step once for all its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns

from django_cacheaside.clock import Clock
from django_cacheaside.engine.access import Access
from django_cacheaside.engine.agreement import Agreement, Agreements
from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.engine.bypass import Bypass
from django_cacheaside.engine.hot import HotKeys
from django_cacheaside.engine.look import Look
from django_cacheaside.engine.near.rows import near_rows
from django_cacheaside.engine.refresh import Refresher
from django_cacheaside.engine.share import SharedLoads
from django_cacheaside.engine.source import MISSING, MISSING_BODY, K, Missing, R, Sought, Source
from django_cacheaside.engine.tally import Event
from django_cacheaside.exceptions import StoreUnavailableError, UndecodableEntryError
from django_cacheaside.store.envelope import HEADER_SIZE, Found, is_stale, judge
from django_cacheaside.store.store import Store

_HIT = Event.HIT  # asked of the class it takes half as long as counting it


class Fetcher:
    """Reads rows through the cache. One per process; safe to share between threads.

    Args:
        breaker: Says whether the server is to be asked at all.
        agreements: Say whether the keys of a database are everybody's.
        bypass: Reads the database where the cache can't be used.
        refresher: Loads again what is served stale.
        hot: Is told of each key that is asked for.
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
        hot: HotKeys,
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._agreement_of = agreements.get
        self._now_s = clock.monotonic_s
        self._bypass = bypass
        self._refresher = refresher
        self._hot = hot
        self._shared = SharedLoads(store, breaker, clock, bypass)

    def fetch_one(self, source: Source[K, R], pk: K, access: Access, *, leads: bool = True) -> R | Missing:
        """One row. A near hit is no round trip, a hit is one and no SQL; a miss is three and one SELECT.

        Args:
            leads: May it take a lease, and fill? Else what is missed is read without a fill.
        """
        breaker, ident = self._breaker, source.ident(pk)
        if breaker.is_open and not breaker.lets_through():
            source.tally.add(Event.CIRCUIT_OPEN)
            return self._bypass.fall_back_to_one(source, pk, ident, access)
        agreement = self._agreement_of(source.space.database)
        if agreement is not None and self._now_s() >= agreement.due_s and not self._holds(agreement, source, 1):
            return self._bypass.fall_back_to_one(source, pk, ident, access)
        self._hot.add(source.space.tag + ident)
        near, expected = source.near, None
        if near is not None:
            if (raw := near.find(ident)) is not None:
                try:
                    row = MISSING if raw[1:2] == MISSING_BODY else source.decode(pk, raw, HEADER_SIZE)
                except UndecodableEntryError:
                    pass  # it was decoded before it came near: its columns have been forgotten since
                else:
                    source.tally.add(Event.NEAR_HIT)
                    return row
            expected = near.expect([ident])
        began_ns = perf_counter_ns()
        try:
            seen = self._store.read_one(source.space, ident)
        except StoreUnavailableError as error:
            breaker.open(error)
            source.tally.add(Event.UNANSWERED)
            return self._bypass.fall_back_to_one(source, pk, ident, access)
        taken_ns = perf_counter_ns() - began_ns
        found = judge(seen.run, seen.epoch, seen.entry)
        if found is Found.HIT and seen.entry is not None:
            try:
                row = source.decode(pk, seen.entry, HEADER_SIZE)
            except UndecodableEntryError as error:
                return self._fetch_doubtful(source, Sought(pk, ident, seen.run, seen.entry), error, access, leads=leads)
            source.tally.round_trips.add(taken_ns)
            if source.policy.stale_ms and is_stale(seen.entry, self._store.now_ms()):
                stale = Sought(pk, ident, seen.run, seen.entry)
                return self._refresher.refresh(source, {pk: stale}, access).get(pk, row)
            source.tally.add(_HIT)
            if near is not None and expected is not None:
                near.keep(expected, seen.run, seen.epoch, [seen.entry])
            return row
        if found is Found.NEGATIVE_HIT:
            source.tally.add(Event.NEGATIVE_HIT)
            source.tally.round_trips.add(taken_ns)
            if near is not None and expected is not None:
                near.keep(expected, seen.run, seen.epoch, [seen.entry])
            return MISSING
        if found is Found.BYPASS:
            source.tally.add(Event.BYPASS)
            source.tally.add(Event.COMMIT_OPEN)
            return self._bypass.load_one(source, pk, ident, access)
        return self._miss(source, Sought(pk, ident, seen.run, seen.entry), access, leads=leads)

    def _miss(self, source: Source[K, R], one: Sought[K], access: Access, *, leads: bool) -> R | Missing:
        source.tally.add(Event.MISS)
        if access is Access.LOOK or not leads:
            return self._bypass.load_one(source, one.pk, one.ident, access)
        return self._lead(source, [one], [], access)[one.pk]

    def _fetch_doubtful(
        self, source: Source[K, R], one: Sought[K], error: UndecodableEntryError, access: Access, *, leads: bool
    ) -> R | Missing:
        """One row of which there is a valid entry that could not be decoded at first sight."""
        look = Look(self._store, source)
        try:
            look.sort_out([(one, error)])
        except StoreUnavailableError as unavailable:
            self._breaker.open(unavailable)
            source.tally.add(Event.UNANSWERED)
            return self._bypass.fall_back_to_one(source, one.pk, one.ident, access)
        if look.rows:
            source.tally.add(Event.HIT)
            return look.rows[one.pk]
        if look.bypassed:
            source.tally.add(Event.BYPASS)
            return self._bypass.load_one(source, one.pk, one.ident, access)
        return self._miss(source, look.missed[0], access, leads=leads)

    def fetch(
        self,
        source: Source[K, R],
        pks: Sequence[K],
        access: Access,
        *,
        outdated: Callable[[dict[K, R]], Iterable[K]] | None = None,
        leads: bool = True,
    ) -> dict[K, R | Missing]:
        """Many rows, distinct primary keys, in their order. Round trips as for one.

        Args:
            outdated: Tells which of the hits turned out to be wrong, where a hit is not the last word: they are loaded
                and filled with what was missed.
            leads: As for one.
        """
        if not pks or not self._breaker.lets_through():
            source.tally.add(Event.CIRCUIT_OPEN, len(pks))
            return self._bypass.fall_back(source, pks, access)
        agreement = self._agreement_of(source.space.database)
        if agreement is not None and not self._holds(agreement, source, len(pks)):
            return self._bypass.fall_back(source, pks, access)
        if source.near is None or outdated is not None:
            return self._ask(source, pks, access, outdated, leads=leads)
        rows = near_rows(source, source.near, pks)
        self._hot.add_all(map(source.space.tag.__add__, map(source.ident, rows)))
        far = [pk for pk in pks if pk not in rows]
        if far:
            asked = self._ask(source, far, access, None, leads=leads)
            rows.update(asked)
        return {pk: rows[pk] for pk in pks}

    def _ask(
        self,
        source: Source[K, R],
        pks: Sequence[K],
        access: Access,
        outdated: Callable[[dict[K, R]], Iterable[K]] | None,
        *,
        leads: bool,
    ) -> dict[K, R | Missing]:
        """``fetch``, of what the server must be asked for."""
        look = Look(self._store, source, keeps_hits=outdated is not None)
        try:
            look.at(pks)
        except StoreUnavailableError as error:
            self._breaker.open(error)
            source.tally.add(Event.UNANSWERED, len(pks))
            return self._bypass.fall_back(source, pks, access)
        self._hot.add_all(map(source.space.tag.__add__, look.idents))
        rows, missed, bypassed = look.rows, look.missed, look.bypassed
        if look.stale:
            for pk, row in self._refresher.refresh(source, look.stale, access).items():
                rows[pk] = row
                if look.hits is not None:
                    del look.hits[pk]
        if outdated is not None and look.hits:
            wrong = list(outdated({pk: rows[pk] for pk in look.hits}))  # type: ignore[misc]  # hits are rows
            self._count_outdated(source, look, wrong)
            for pk in wrong:
                del rows[pk]
                missed.append(look.hits[pk])
        if not missed and not bypassed:
            return rows
        if missed and leads and access is not Access.LOOK:
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
            source.tally.add(Event.UNANSWERED, rows)
        else:
            source.tally.add(Event.CONTESTED, rows)
        return False

    def _count_outdated(self, source: Source[K, R], look: Look[K, R], wrong: Sequence[K]) -> None:
        """What looked like hits are misses."""
        stale = sum(pk in look.stale for pk in wrong)
        source.tally.add(Event.OUTDATED, len(wrong))
        source.tally.add(Event.HIT, stale - len(wrong))
        source.tally.add(Event.STALE_HIT, -stale)
        source.tally.add(Event.MISS, len(wrong))

    def _lead(
        self, source: Source[K, R], missed: Sequence[Sought[K]], bypassed: Sequence[K], access: Access
    ) -> dict[K, R | Missing]:
        """Load what nobody in this process loads yet, and take the rest from those who do."""
        rows, unshared = self._shared.load(source, missed, bypassed, access)
        if unshared:
            again = self._look_again(source, unshared, access)
            rows.update(again)
        return rows

    def _look_again(self, source: Source[K, R], pks: Sequence[K], access: Access) -> dict[K, R | Missing]:
        """Who joined a load that could not be shared: another process's, as a rule, and then the row is there by now.

        Else it is read without a fill. One round trip.
        """
        source.tally.add(Event.MISS, -len(pks))  # each counts as what it comes to now
        if len(pks) > 1:
            return self.fetch(source, pks, access, leads=False)
        return {pks[0]: self.fetch_one(source, pks[0], access, leads=False)}

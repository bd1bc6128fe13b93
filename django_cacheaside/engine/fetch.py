"""The whole move of a read: look, and on a miss lease, load and fill; and every way past the cache.

Rows are what the source makes of them; between readers they travel as bytes, so that no two share a mutable value. A
batch takes each step once for all its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from django_cacheaside.clock import Clock
from django_cacheaside.engine.agreement import Agreement, Agreements
from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.engine.flight import LeasedFlights, QueuedFlights
from django_cacheaside.engine.lead import Lead
from django_cacheaside.engine.source import MISSING, K, Missing, R, Sought, Source, body_of, event_of, row_of
from django_cacheaside.engine.tally import Event
from django_cacheaside.exceptions import (
    OtherColumnsError,
    StoreUnavailableError,
    UncacheableRowError,
    UndecodableEntryError,
    UnknownColumnsError,
)
from django_cacheaside.failpoints import reach
from django_cacheaside.store.envelope import HEADER_SIZE, Found, judge, value_head
from django_cacheaside.store.store import Store

MOST_ASKED = 8
"""Fingerprints that one read asks about; entries of more are none of ours."""


class Access(Enum):
    """What a read may do with the cache."""

    FULL = "serve hits, and fill what is missed"
    LOOK = "serve hits; what is missed comes from the database and is not filled"


class Fetcher:
    """Reads rows through the cache. One per process; safe to share between threads.

    Args:
        breaker: Says whether the server is to be asked at all.
        agreements: Say whether the keys of a database are everybody's.
    """

    def __init__(self, store: Store, breaker: Breaker, agreements: Agreements, clock: Clock) -> None:
        self._store = store
        self._breaker = breaker
        self._agreement_of = agreements.get
        self._clock = clock
        self._now_s = clock.monotonic_s
        self._leased: LeasedFlights[bytes] = LeasedFlights()
        self._queued: QueuedFlights[bytes] = QueuedFlights()

    def fetch_one(self, source: Source[K, R], pk: K, access: Access) -> R | Missing:
        """One row. A hit is one round trip and no SQL; a miss is three and one SELECT."""
        breaker, ident = self._breaker, source.ident(pk)
        if breaker.is_open and not breaker.lets_through():
            return self._load_queued(source, pk, ident, access)
        agreement = self._agreement_of(source.space.database)
        if agreement is not None and self._now_s() >= agreement.due_s and not self._holds(agreement, source, 1):
            return self._load_queued(source, pk, ident, access)
        try:
            seen = self._store.read_one(source.space, ident)
        except StoreUnavailableError as error:
            breaker.open(error)
            return self._load_queued(source, pk, ident, access)
        found = judge(seen.run, seen.epoch, seen.entry)
        if found is Found.HIT and seen.entry is not None:
            try:
                row = source.decode(pk, seen.entry, HEADER_SIZE)
            except UndecodableEntryError as error:
                return self._fetch_doubtful(source, Sought(pk, ident, seen.run, seen.entry), error, access)
            source.tally.add(Event.HIT)
            return row
        if found is Found.NEGATIVE_HIT:
            source.tally.add(Event.NEGATIVE_HIT)
            return MISSING
        if found is Found.BYPASS:
            source.tally.add(Event.BYPASS)
            return self._load_queued(source, pk, ident, access)
        source.tally.add(Event.MISS)
        if access is Access.LOOK:
            return self._load(source, [pk])[pk]
        return self._lead(source, [Sought(pk, ident, seen.run, seen.entry)], [])[pk]

    def _fetch_doubtful(
        self, source: Source[K, R], one: Sought[K], error: UndecodableEntryError, access: Access
    ) -> R | Missing:
        """One row of which there is a valid entry that could not be decoded at first sight."""
        rows: dict[K, R | Missing] = {}
        missed: list[Sought[K]] = []
        bypassed: list[K] = []
        try:
            self._sort_out(source, [(one, error)], rows, missed, bypassed)
        except StoreUnavailableError as unavailable:
            self._breaker.open(unavailable)
            return self._load_queued(source, one.pk, one.ident, access)
        if rows:
            source.tally.add(Event.HIT)
            return rows[one.pk]
        if bypassed:
            source.tally.add(Event.BYPASS)
            return self._load_queued(source, one.pk, one.ident, access)
        source.tally.add(Event.MISS)
        if access is Access.LOOK:
            return self._load(source, [one.pk])[one.pk]
        return self._lead(source, missed, [])[one.pk]

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
            return self._load(source, pks)
        agreement = self._agreement_of(source.space.database)
        if agreement is not None and not self._holds(agreement, source, len(pks)):
            return self._load(source, pks)
        rows: dict[K, R | Missing] = {}
        missed: list[Sought[K]] = []
        bypassed: list[K] = []
        hits: dict[K, Sought[K]] | None = None if outdated is None else {}
        try:
            self._look(source, pks, rows, missed, bypassed, hits)
        except StoreUnavailableError as error:
            self._breaker.open(error)
            return self._load(source, pks)
        if outdated is not None and hits:
            wrong = list(outdated({pk: rows[pk] for pk in hits}))  # type: ignore[misc]  # hits are rows
            source.tally.add(Event.OUTDATED, len(wrong))
            for pk in wrong:
                del rows[pk]
                missed.append(hits[pk])
        if not missed and not bypassed:
            return rows
        if missed and access is Access.FULL:
            led = self._lead(source, missed, bypassed)
            rows.update(led)
        else:
            loaded = self._load(source, [*(one.pk for one in missed), *bypassed])
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

    def _look(
        self,
        source: Source[K, R],
        pks: Sequence[K],
        rows: dict[K, R | Missing],
        missed: list[Sought[K]],
        bypassed: list[K],
        hits: dict[K, Sought[K]] | None,
    ) -> None:
        """Sort rows by what one MGET says of them."""
        idents = list(map(source.ident, pks))
        decode = source.decode
        doubtful: list[tuple[Sought[K], UndecodableEntryError]] = []
        negative = start = 0
        for seen in self._store.read(source.space, idents):
            head = value_head(seen.run, seen.epoch)
            end = start + len(seen.entries)
            for pk, ident, entry in zip(pks[start:end], idents[start:end], seen.entries, strict=True):
                if entry is not None and head is not None and entry.startswith(head):
                    try:
                        rows[pk] = decode(pk, entry, HEADER_SIZE)
                    except UndecodableEntryError as error:
                        doubtful.append((Sought(pk, ident, seen.run, entry), error))
                    else:
                        if hits is not None:
                            hits[pk] = Sought(pk, ident, seen.run, entry)
                    continue
                found = judge(seen.run, seen.epoch, entry)
                if found is Found.NEGATIVE_HIT:
                    rows[pk] = MISSING
                    negative += 1
                elif found is Found.BYPASS:
                    bypassed.append(pk)
                else:
                    missed.append(Sought(pk, ident, seen.run, entry))
            start = end
        if doubtful:
            self._sort_out(source, doubtful, rows, missed, bypassed)
        tally = source.tally
        tally.add(Event.HIT, len(rows) - negative)
        tally.add(Event.NEGATIVE_HIT, negative)
        tally.add(Event.MISS, len(missed))
        tally.add(Event.BYPASS, len(bypassed))

    def _sort_out(
        self,
        source: Source[K, R],
        doubtful: Sequence[tuple[Sought[K], UndecodableEntryError]],
        rows: dict[K, R | Missing],
        missed: list[Sought[K]],
        bypassed: list[K],
    ) -> None:
        """Valid entries that could not be decoded: of a release with other columns, or no entries of ours.

        One round trip if there are fingerprints that this process has not met, or not lately.
        """
        unknown = dict.fromkeys(error.fingerprint for _, error in doubtful if isinstance(error, UnknownColumnsError))
        schemas = source.schemas
        if schemas is not None and unknown:
            asked = list(unknown)[:MOST_ASKED]
            for fingerprint, record in zip(asked, self._store.read_descriptions(source.space, asked), strict=True):
                schemas.learn(fingerprint, record)
        for one, error in doubtful:
            if isinstance(error, UnknownColumnsError) and one.entry is not None:
                try:
                    rows[one.pk] = source.decode(one.pk, one.entry, HEADER_SIZE)
                    continue
                except UndecodableEntryError as learnt:
                    error = learnt
            source.tally.add(event_of(error))
            if isinstance(error, OtherColumnsError):
                bypassed.append(one.pk)
            else:
                missed.append(one)

    def _lead(self, source: Source[K, R], missed: Sequence[Sought[K]], bypassed: Sequence[K]) -> dict[K, R | Missing]:
        """Load what nobody in this process loads yet, and take the rest from those who do."""
        key = source.space.entry
        own, joined = self._leased.board([key(one.ident) for one in missed])
        rows: dict[K, R | Missing] = {}
        try:
            ours = [one for one in missed if key(one.ident) in own]
            if ours:
                lead = Lead(
                    self._store,
                    self._breaker,
                    self._clock,
                    source,
                    close=lambda loaded: self._leased.close({(k := key(one.ident)): own[k] for one in loaded}),
                    publish=lambda one, body: own[key(one.ident)].land(body),
                )
                rows = lead.run(ours, bypassed)
            elif bypassed:
                rows = self._load(source, bypassed)
        finally:
            self._leased.close(own)
            for flight in own.values():
                flight.land(flight.result)
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
        return {pk: self._load_queued(source, pk, source.ident(pk), Access.FULL)}

    def _load(self, source: Source[K, R], pks: Sequence[K]) -> dict[K, R | Missing]:
        """From the database, past the cache."""
        if not pks:
            return {}
        source.tally.add(Event.DATABASE_READ, len(pks))
        reach("before-bypass")
        found = source.load(pks)
        reach("after-bypass")
        return {pk: found.get(pk, MISSING) for pk in pks}

    def _load_queued(self, source: Source[K, R], pk: K, ident: str, access: Access) -> R | Missing:
        """From the database, past the cache; concurrent readers of one row share the loads that begin after them."""
        if access is Access.LOOK:  # a transaction that has written must not wait for others, nor show them its rows
            return self._load(source, [pk])[pk]
        mine: list[R | Missing] = []

        def load() -> bytes | None:
            mine.append(self._load(source, [pk])[pk])
            try:
                return body_of(source, pk, mine[0])
            except UncacheableRowError:
                return None

        body = self._queued.load(source.space.entry(ident), load)
        if mine:
            return mine[0]
        if body is None:
            return self._load(source, [pk])[pk]
        source.tally.add(Event.SHARED)
        return row_of(source, pk, body)

"""The look: what one MGET says of rows, and of entries that could not be decoded at first sight."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from time import perf_counter_ns
from typing import Generic

from django_cacheaside.engine.source import MISSING, K, Missing, R, Sought, Source, event_of
from django_cacheaside.engine.tally import Event
from django_cacheaside.exceptions import OtherColumnsError, UndecodableEntryError, UnknownColumnsError
from django_cacheaside.store.acts import SeenRows
from django_cacheaside.store.envelope import FRESH_UNTIL, HEADER_SIZE, Found, fresh_until, judge, value_head
from django_cacheaside.store.store import Store

MOST_ASKED = 8
"""Fingerprints that one read asks about; entries of more are none of ours."""

Doubtful = tuple[Sought[K], UndecodableEntryError]
"""A row of which there is a valid entry that could not be decoded, and why."""


class Look(Generic[K, R]):
    """Rows sorted by what was found of them.

    Args:
        keeps_hits: Keep what the hits were made of, in ``hits``: they may turn out to be wrong.

    Attributes:
        rows: Hits, and ``MISSING`` for negative hits.
        missed: To be led.
        bypassed: A COMMIT is open, or nothing can be filled: to be read past the cache.
        stale: Hits whose time to live is over: to be loaded again.
        idents: What was looked at.
    """

    __slots__ = ("_negative", "_source", "_store", "bypassed", "hits", "idents", "missed", "rows", "stale")

    def __init__(self, store: Store, source: Source[K, R], *, keeps_hits: bool = False) -> None:
        self._store = store
        self._source = source
        self.rows: dict[K, R | Missing] = {}
        self.missed: list[Sought[K]] = []
        self.bypassed: list[K] = []
        self.idents: list[str] = []
        self._negative = 0
        self.stale: dict[K, Sought[K]] = {}
        self.hits: dict[K, Sought[K]] | None = {} if keeps_hits else None

    def at(self, pks: Sequence[K]) -> None:
        """Look at rows. One round trip, and one more if entries are of a release with other columns.

        Raises:
            StoreUnavailableError: The server did not answer.
        """
        source = self._source
        rows, missed = self.rows, self.missed
        idents = self.idents = list(map(source.ident, pks))
        doubtful: list[Doubtful[K]] = []
        stale_until = fresh_until(self._store.now_ms()) if source.policy.stale_ms else b""
        start = 0
        expected = None if source.near is None else source.near.expect(idents)
        began_ns = perf_counter_ns()
        answer = self._store.read(source.space, idents)
        taken_ns = perf_counter_ns() - began_ns
        for seen in answer:
            head = value_head(seen.run, seen.epoch)
            end = start + len(seen.entries)
            if (
                head is None
                or self.hits is not None
                or not self._are_hits(pks[start:end], seen.entries, head, stale_until)
            ):
                doubtful += self._sort(pks[start:end], idents[start:end], seen, head, stale_until)
            if source.near is not None and expected is not None:
                # what could not be decoded yet is not kept: by whom is it to be decoded next time?
                decoded = [
                    entry if pk in rows else None for pk, entry in zip(pks[start:end], seen.entries, strict=True)
                ]
                source.near.keep(expected.part(start, end), seen.run, seen.epoch, decoded)
            start = end
        met_intents = len(self.bypassed)
        if doubtful:
            self.sort_out(doubtful)
        tally = source.tally
        tally.add(Event.HIT, len(rows) - self._negative - len(self.stale))
        tally.add(Event.NEGATIVE_HIT, self._negative)
        tally.add(Event.MISS, len(missed))
        tally.add(Event.BYPASS, len(self.bypassed))
        tally.add(Event.COMMIT_OPEN, met_intents)
        if rows:
            tally.round_trips.add(taken_ns)

    def _are_hits(self, pks: Sequence[K], entries: Sequence[bytes | None], head: bytes, stale_until: bytes) -> bool:
        """Take a batch as it usually is: values all of them, fresh, and of our columns. Else nothing is taken."""
        if None in entries:
            return False
        values: Sequence[bytes] = entries  # type: ignore[assignment]  # none is None
        if not all(map(bytes.startswith, values, repeat(head))):
            return False
        if stale_until and any(value[FRESH_UNTIL] <= stale_until for value in values):
            return False
        found = self._source.decode_many(pks, values, HEADER_SIZE)
        if found is None:
            return False
        self.rows.update(zip(pks, found, strict=True))
        return True

    def _sort(
        self, pks: Sequence[K], idents: Sequence[str], seen: SeenRows, head: bytes | None, stale_until: bytes
    ) -> list[Doubtful[K]]:
        """Take a batch entry by entry. Returns those that could not be decoded."""
        rows, missed, hits, decode = self.rows, self.missed, self.hits, self._source.decode
        doubtful: list[Doubtful[K]] = []
        for pk, ident, entry in zip(pks, idents, seen.entries, strict=True):
            if entry is not None and head is not None and entry.startswith(head):
                try:
                    rows[pk] = decode(pk, entry, HEADER_SIZE)
                except UndecodableEntryError as error:
                    doubtful.append((Sought(pk, ident, seen.run, entry), error))
                else:
                    if hits is not None:
                        hits[pk] = Sought(pk, ident, seen.run, entry)
                    if stale_until and entry[FRESH_UNTIL] <= stale_until:
                        self.stale[pk] = Sought(pk, ident, seen.run, entry)
                continue
            found = judge(seen.run, seen.epoch, entry)
            if found is Found.NEGATIVE_HIT:
                rows[pk] = MISSING
                self._negative += 1
            elif found is Found.BYPASS:
                self.bypassed.append(pk)
            else:
                missed.append(Sought(pk, ident, seen.run, entry))
        return doubtful

    def sort_out(self, doubtful: Sequence[Doubtful[K]]) -> None:
        """Valid entries that could not be decoded: of a release with other columns, or no entries of ours.

        One round trip if there are fingerprints that this process has not met, or not lately.

        Raises:
            StoreUnavailableError: The server did not answer.
        """
        source = self._source
        unknown = dict.fromkeys(error.fingerprint for _, error in doubtful if isinstance(error, UnknownColumnsError))
        schemas = source.schemas
        if schemas is not None and unknown:
            asked = list(unknown)[:MOST_ASKED]
            for fingerprint, record in zip(asked, self._store.read_descriptions(source.space, asked), strict=True):
                schemas.learn(fingerprint, record)
        for one, error in doubtful:
            if isinstance(error, UnknownColumnsError) and one.entry is not None:
                try:
                    self.rows[one.pk] = source.decode(one.pk, one.entry, HEADER_SIZE)
                    continue
                except UndecodableEntryError as learnt:
                    error = learnt
            source.tally.add(event_of(error))
            if isinstance(error, OtherColumnsError):
                self.bypassed.append(one.pk)
            else:
                self.missed.append(one)

"""The near entries of one model in one database: what a reader finds, and what it may leave behind.

A near hit is what an MGET would have said: the bytes of the epoch and of the entry, both as the server had them last,
judged as those of an MGET are. Who asks the server notes before how often the keys have been modified; if that is
another number when the answer is there, the answer may be older than what was said of it and is not kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from django_cacheaside.engine.near.line import Line
from django_cacheaside.engine.near.policy import NearPolicy
from django_cacheaside.engine.near.shelf import Shelf
from django_cacheaside.failpoints import reach
from django_cacheaside.keys import KeySpace
from django_cacheaside.store.envelope import FRESH_UNTIL, Found, judge, value_head

if TYPE_CHECKING:
    from django_cacheaside.engine.near.cache import NearCache

_pid_of = os.getpid


@dataclass(slots=True, eq=False)
class Expected:
    """Keys that the server is about to be asked for.

    Args:
        changes: How often each of them has been modified so far, at the least.
        moves: The same of the epoch.
    """

    line: Line
    keys: Sequence[str]
    changes: Sequence[int]
    moves: int

    def part(self, start: int, end: int) -> Expected:
        """Some of them, by their places."""
        return Expected(self.line, self.keys[start:end], self.changes[start:end], self.moves)


class NearSpace:
    """The keys of one model in one database.

    Args:
        life_s: How long a value may be kept in any case: the longest life of an entry.
    """

    __slots__ = (
        "_cache",
        "_epoch",
        "_life_s",
        "_shelf",
        "database",
        "epoch_key",
        "hits",
        "max_staleness_s",
        "misses",
        "moves",
        "prefix",
    )

    def __init__(
        self, cache: NearCache, space: KeySpace, prefix: str, policy: NearPolicy, shelf: Shelf, *, life_s: float
    ) -> None:
        self._cache = cache
        self._shelf = shelf
        self._life_s = life_s
        self.max_staleness_s = policy.max_staleness_s
        self._epoch: tuple[bytes, bytes, bytes] | None = None  # its run id, itself, and how its values begin
        self.database = space.database
        self.prefix = prefix
        self.epoch_key = space.epoch
        self.moves = 0
        self.hits = 0
        self.misses = 0

    def find(self, ident: str) -> bytes | None:
        """The entry of a row, a value or the knowledge that the row is missing; None if the server must be asked.

        No round trip.
        """
        line, current = self.current_line(), self._epoch
        if line is not None and current is not None:
            found = self._shelf.get(self.prefix + ident)
            if found is not None:
                raw, until_s = found
                run, epoch, head = current
                if (
                    monotonic() < until_s
                    and run == self._cache.sealed(line.run, self.database)
                    and (raw.startswith(head) or judge(run, epoch, raw) is Found.NEGATIVE_HIT)
                    and self._cache.line is line
                ):
                    self.hits += 1
                    return raw
        self.misses += 1
        return None

    def find_many(self, idents: Sequence[str]) -> dict[str, bytes]:
        """As ``find``, for many; those for which the server must be asked are absent."""
        line, current = self.current_line(), self._epoch
        found: dict[str, bytes] = {}
        if line is not None and current is not None:
            run, epoch, head = current
            if run == self._cache.sealed(line.run, self.database):
                prefix, now_s = self.prefix, monotonic()
                for ident, (raw, until_s) in self._shelf.get_many(prefix, idents):
                    if now_s < until_s and (raw.startswith(head) or judge(run, epoch, raw) is Found.NEGATIVE_HIT):
                        found[ident] = raw
                if self._cache.line is not line:
                    found.clear()
        self.hits += len(found)
        self.misses += len(idents) - len(found)
        return found

    def current_line(self) -> Line | None:
        """The connection, if all that was said on it until now is known; None if nothing near counts."""
        cache = self._cache
        line = cache.line
        if line is None or _pid_of() != cache.pid or self.prefix not in line.prefixes:
            cache.wake()
            return None
        if monotonic() - line.synced_s > self.max_staleness_s:
            return None
        if not line.is_silent() and not line.hear():
            return None
        return None if line.is_busy() else line

    def expect(self, idents: Sequence[str]) -> Expected | None:
        """Before the server is asked for entries; None if nothing is to be kept of them."""
        line = self._cache.line
        if line is None or _pid_of() != self._cache.pid or self.prefix not in line.prefixes:
            return None
        prefix, changes = self.prefix, self._cache.changes
        keys = [prefix + ident for ident in idents]
        return Expected(line, keys, [changes[hash(key) % len(changes)] for key in keys], self.moves)

    def keep(self, expected: Expected, run: bytes, epoch: bytes | None, entries: Sequence[bytes | None]) -> None:
        """Keep what the server has said of the expected keys, except for what was modified since.

        Args:
            run: The run id of the server that answered, sealed.
        """
        line, cache = expected.line, self._cache
        head = value_head(run, epoch)
        if head is None or epoch is None:
            return
        if run != cache.sealed(line.run, self.database):
            line.lose("another server answers reads")
            return
        reach("before-keep")
        now_s, changes = monotonic(), cache.changes
        with cache.changing:
            if self.moves != expected.moves:  # with the epoch: the loss of the connection moves it, too
                return
            self._epoch = run, epoch, head
            for key, before, raw in zip(expected.keys, expected.changes, entries, strict=True):
                if raw is None or changes[hash(key) % len(changes)] != before:
                    continue
                if raw.startswith(head) or judge(run, epoch, raw) is Found.NEGATIVE_HIT:
                    until_s = self._until_s(raw, line, now_s)
                    if until_s > now_s:
                        self._shelf.put(key, raw, until_s)

    def _until_s(self, raw: bytes, line: Line, now_s: float) -> float:
        """When an entry ends being fresh, by our clock. The server tells of what expires, but not at once."""
        longest_s = now_s + self._life_s
        if line.ahead_s is None:
            return longest_s
        return min(longest_s, int.from_bytes(raw[FRESH_UNTIL], "big") / 1000 - line.ahead_s)

    def forget_epoch(self) -> None:
        """It has been modified: nothing is found until it was read again. Called by who holds ``changing``."""
        self.moves += 1
        self._epoch = None

    def drop(self, idents: Iterable[str]) -> None:
        """Rows were written. Called by who holds ``changing``."""
        for ident in idents:
            self.drop_key(self.prefix + ident)

    def drop_key(self, key: str) -> None:
        """An entry has been modified. Called by who holds ``changing``."""
        changes = self._cache.changes
        changes[hash(key) % len(changes)] += 1
        self._shelf.drop(key)

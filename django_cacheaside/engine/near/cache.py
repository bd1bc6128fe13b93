"""The near cache of a process: entries that need no round trip, for models that allow them to be a little old.

It keeps bytes, as the server gave them, never rows: what a reader gets is decoded for him. Nothing is connected before
the first read; a forked child begins with nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from django_cacheaside.engine.near.keeper import Keeper
from django_cacheaside.engine.near.line import Line
from django_cacheaside.engine.near.policy import NearPolicy
from django_cacheaside.engine.near.shelf import Shelf
from django_cacheaside.engine.near.space import NearSpace
from django_cacheaside.keys import KeySpace
from django_cacheaside.store.tracking import Tracking
from django_cacheaside.store.writes import Writes

logger = logging.getLogger("django_cacheaside")

MOST_SPACES = 100
"""Models in databases and namespaces that one process keeps near: with each write the server walks all prefixes."""

_CHANGES = 1024


@dataclass(frozen=True, slots=True)
class NearCounts:
    """Of one model in this process.

    Args:
        hits: Entries found near. ``misses``: those for which the server was asked.
        dropped: Entries that were modified while they were near.
        evicted: Entries that had to go for others, for want of room.
        max_bytes: What ``bytes`` never exceeds.
    """

    entries: int
    bytes: int
    max_bytes: int
    hits: int
    misses: int
    dropped: int
    evicted: int


@dataclass(frozen=True, slots=True)
class NearState:
    """Of a process.

    Args:
        is_on: Is it connected, and has the server answered lately?
        times_lost: How often everything was dropped because the connection was lost or silent.
        models: By ``app_label.model_name``.
    """

    is_on: bool
    times_lost: int
    models: dict[str, NearCounts]


class NearCache:
    """One per process. Safe to share between threads and across a fork.

    Args:
        connect: Makes a connection that tells of modified keys.
        sealed: A server's run id as a database's epochs carry it.

    Attributes:
        pid: Of the process that all this belongs to.
        line: The connection; None while there is none, or where the server has none for us.
        changes: How often keys were modified; a key counts at ``hash(key) % len(changes)``.
        changing: Held by who changes what is near.
    """

    def __init__(self, connect: Callable[[], Tracking], sealed: Callable[[bytes, str], bytes]) -> None:
        self._connect = connect
        self.sealed = sealed
        self._spaces: dict[KeySpace, NearSpace] = {}
        self._shelves: dict[str, Shelf] = {}
        self._by_epoch: dict[str, NearSpace] = {}
        self._by_prefix: dict[str, NearSpace] = {}
        self._prefix_lengths: tuple[int, ...] = ()
        self._is_said_to_be_full = False
        self._begin()

    def _begin(self) -> None:
        """Nothing is near; in a forked child again: the connection and the locks are its parent's."""
        self.changing = threading.RLock()  # a write may come out of a finalizer, in whichever thread
        self.changes = [0] * _CHANGES
        self.line: Line | None = None
        self._times_lost = 0
        self._keeper = Keeper(self._connect, self)
        self._forget_all()
        self.pid = os.getpid()

    def _leave_parent(self) -> None:
        if self.pid != os.getpid():
            self._begin()

    def space(self, space: KeySpace, policy: NearPolicy, *, life_ms: int) -> NearSpace | None:
        """Where the entries of a model in a database are kept; None if they can't be.

        Args:
            life_ms: The longest life of an entry.
        """
        self._leave_parent()
        prefix = space.entry_prefix
        with self.changing:
            known = self._spaces.get(space)
            if known is not None or prefix is None:
                return known
            if len(self._spaces) >= MOST_SPACES:
                self._say_full()
                return None
            shelf = self._shelves.setdefault(_model_of(space), Shelf(policy.max_bytes))
            made = NearSpace(self, space, prefix, policy, shelf, life_s=life_ms / 1000)
            self._spaces[space] = self._by_epoch[space.epoch] = self._by_prefix[prefix] = made
            self._prefix_lengths = tuple({len(one) for one in self._by_prefix})
            return made

    def _say_full(self) -> None:
        if not self._is_said_to_be_full:
            self._is_said_to_be_full = True
            logger.warning(
                "%d models in databases and namespaces are near; the others ask the server for each entry.", MOST_SPACES
            )

    def prefixes(self) -> list[str]:
        """What the keys begin with of which we must hear."""
        return [prefix for one in list(self._spaces.values()) for prefix in (one.prefix, one.epoch_key)]

    @property
    def max_staleness_s(self) -> float:
        """The least that a model allows."""
        return min((one.max_staleness_s for one in list(self._spaces.values())), default=1.0)

    def wake(self) -> None:
        """Somebody wants to read near, and can't yet."""
        self._leave_parent()
        self._keeper.wake()

    def begin(self, line: Line) -> None:
        """There is a connection."""
        with self.changing:
            self._forget_all()
            self.line = line

    def lost(self, line: Line, reason: object) -> None:
        if self.line is line:
            self.line = None
            self._times_lost += 1
            with self.changing:
                self._forget_all()
            self._keeper.lost(reason)

    def modified(self, keys: list[str] | None) -> None:
        with self.changing:
            if keys is None:
                self._forget_all()
                return
            for key in keys:
                self._modified(key)

    def _modified(self, key: str) -> None:
        space = self._by_epoch.get(key)
        if space is not None:
            space.forget_epoch()
            return
        for length in self._prefix_lengths:
            space = self._by_prefix.get(key[:length])
            if space is not None:
                space.drop_key(key)

    def drop(self, writes: Writes) -> None:
        """This process has written: at once, without waiting for the server to say it."""
        if not self._spaces:
            return
        self._leave_parent()
        with self.changing:
            for written in writes.models:
                if (space := self._spaces.get(written)) is not None:
                    space.forget_epoch()
            for written, idents in writes.rows.items():
                if (space := self._spaces.get(written)) is not None:
                    space.drop(idents)

    def clear(self) -> None:
        """Drop everything."""
        if self._spaces:
            self._leave_parent()
            with self.changing:
                self._forget_all()

    def _forget_all(self) -> None:
        self.changes[:] = [count + 1 for count in self.changes]
        for shelf in self._shelves.values():
            shelf.clear()
        for space in self._spaces.values():
            space.forget_epoch()

    def state(self) -> NearState:
        """What is near now, and what became of it."""
        self._leave_parent()
        with self.changing:
            line = self.line
            is_on = line is not None and monotonic() - line.synced_s <= self.max_staleness_s
            models = {
                label: NearCounts(
                    entries=len(shelf),
                    bytes=shelf.bytes,
                    max_bytes=shelf.max_bytes,
                    hits=sum(one.hits for key, one in self._spaces.items() if _model_of(key) == label),
                    misses=sum(one.misses for key, one in self._spaces.items() if _model_of(key) == label),
                    dropped=shelf.dropped,
                    evicted=shelf.evicted,
                )
                for label, shelf in self._shelves.items()
            }
            return NearState(is_on, self._times_lost, models)

    def close(self) -> None:
        """Hang up. What is near is dropped."""
        if self.pid == os.getpid():
            self._keeper.close()


def _model_of(space: KeySpace) -> str:
    """The label of its model, whatever the namespace: no label has a slash in it."""
    return space.label.rpartition("/")[2]

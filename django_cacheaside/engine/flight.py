"""Sharing one load between the readers of a process (single-flight), without breaking the promise.

A reader that begins after a COMMIT may join a flight whose SELECT ran before it, so naive sharing serves old rows on
every hot key. Two rules hold:

    with a lease      a result is shared only if its fill was accepted (no COMMIT fell between lease and fill), and the
                      flight takes no more joiners once its owner is about to fill          ``LeasedFlights``
    without a lease   join only a flight whose SELECT is not yet sent                        ``QueuedFlights``
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from django_cacheaside.failpoints import reach

T = TypeVar("T")


class Flight(Generic[T]):
    """One load that others may share. ``result`` is None if there is nothing to share: they load themselves."""

    __slots__ = ("_done", "_has_landed", "owner", "passengers", "result")

    def __init__(self) -> None:
        self._done = threading.Lock()  # held until it lands: a tenth of an Event's cost, and each miss makes one
        self._done.acquire()
        self.owner = threading.get_ident()
        self.passengers = 1
        self._has_landed = False
        self.result: T | None = None

    def wait(self) -> T | None:
        """The shared result, or None. Lasts as long as the owner's load."""
        with self._done:
            return self.result

    def land(self, result: T | None) -> None:
        """Tell all joiners. What was told first holds."""
        if not self._has_landed:
            self._has_landed = True
            self.result = result
            self._done.release()


class LeasedFlights(Generic[T]):
    """The loads of this process that are made under a lease, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._boarding: dict[str, Flight[T]] = {}

    def board(self, keys: Iterable[str]) -> tuple[dict[str, Flight[T]], dict[str, Flight[T]]]:
        """For each key: open a flight, or join the one that still takes joiners.

        Returns:
            The flights opened, which the caller must ``close`` and ``land`` whatever happens; and the flights joined. A
            caller first lands its own, then waits for others: so nobody waits in a circle.
        """
        own: dict[str, Flight[T]] = {}
        joined: dict[str, Flight[T]] = {}
        me = threading.get_ident()
        with self._lock:
            for key in keys:
                flight = self._boarding.get(key)
                if flight is None:
                    self._boarding[key] = own[key] = Flight()
                elif flight.owner != me:
                    joined[key] = flight
                else:  # our own load reads this key again: it can't wait for itself
                    own[key] = Flight()
        return own, joined

    def close(self, own: dict[str, Flight[T]]) -> None:
        """No more joiners: the owner is about to fill."""
        with self._lock:
            for key, flight in own.items():
                if self._boarding.get(key) is flight:
                    del self._boarding[key]


class QueuedFlights(Generic[T]):
    """Loads without a lease: at most one runs per key, and those who come meanwhile share the next one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Flight[T]] = {}
        self._boarding: dict[str, Flight[T]] = {}

    def load(self, key: str, load: Callable[[], T | None]) -> T | None:
        """The result of a load whose SELECT was sent after this call began, one's own or a shared one.

        Args:
            load: Reads the database. What it returns goes to several readers; None means that it can't be shared.

        Returns:
            The shared result, or None: the caller reads the database itself.
        """
        with self._lock:
            boarding, running = self._boarding.get(key), self._running.get(key)
            if running is not None and running.owner == threading.get_ident():
                return None
            if boarding is None:
                mine: Flight[T] = Flight()
                if running is None:
                    self._running[key] = mine
                else:
                    self._boarding[key] = mine
            else:
                boarding.passengers += 1
        if boarding is not None:
            reach("before-join")
            return boarding.wait()
        try:
            if running is not None:
                reach("before-join")
                running.wait()
                with self._lock:
                    del self._boarding[key]  # the SELECT is about to be sent: no more joiners
                    self._running[key] = mine
            mine.result = load()
        finally:  # an interrupted owner must not leave its joiners waiting
            with self._lock:
                for flights in (self._boarding, self._running):
                    if flights.get(key) is mine:
                        del flights[key]
            mine.land(mine.result)
        return mine.result

    def waiting(self, key: str) -> int:
        """How many readers wait for the next load of ``key``."""
        with self._lock:
            boarding = self._boarding.get(key)
            return 0 if boarding is None else boarding.passengers

"""Sharing one load between the readers of a process (single-flight), without breaking the promise.

A reader that begins after a COMMIT may join a flight whose SELECT ran before it, so naive sharing serves old rows on
every hot key. Two rules hold:

    with a lease      a result is shared only if its fill was accepted (no COMMIT fell between lease and fill), and the
                      flight takes no more joiners once its owner is about to fill          ``LeasedFlights``
    without a lease   join only a flight whose SELECT is not yet sent                        ``QueuedFlights``

A load that fails for everybody fails once: its joiners get the error, in place of a load each at a database in trouble.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from copy import copy
from typing import Generic, TypeVar

from django_cacheaside.failpoints import reach

T = TypeVar("T")


class Flight(Generic[T]):
    """One load that others may share. ``result`` is None if there is nothing to share: they load themselves."""

    __slots__ = ("_done", "_error", "_has_landed", "owner", "passengers", "result")

    def __init__(self) -> None:
        self._done = threading.Lock()  # held until it lands: a tenth of an Event's cost, and each miss makes one
        self._done.acquire()
        self.owner = threading.get_ident()
        self.passengers = 1
        self._has_landed = False
        self._error: Exception | None = None
        self.result: T | None = None

    def wait(self) -> T | None:
        """The shared result, or None. Lasts as long as the owner's load; raises what it raised, if that is shared."""
        with self._done:
            if self._error is not None:
                raise _twin(self._error) from self._error
            return self.result

    def outlast(self) -> None:
        """Wait for its end, whatever that is."""
        with self._done:
            pass

    def land(self, result: T | None, error: Exception | None = None) -> None:
        """Tell all joiners. What was told first holds."""
        if not self._has_landed:
            self._has_landed = True
            self.result, self._error = result, error
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

    def load(self, key: str, load: Callable[[], T | None], *, is_shared: Callable[[Exception], bool]) -> T | None:
        """The result of a load whose SELECT was sent after this call began, one's own or a shared one.

        Args:
            load: Reads the database. What it returns goes to several readers; None means that it can't be shared.
            is_shared: Does what it raises go to all of them? Else each of them loads.

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
        result, failure = None, None
        try:
            if running is not None:
                reach("before-join")
                running.outlast()
                with self._lock:
                    del self._boarding[key]  # the SELECT is about to be sent: no more joiners
                    self._running[key] = mine
            result = load()
        except Exception as error:
            failure = error if is_shared(error) else None
            raise
        finally:  # an interrupted owner must not leave its joiners waiting
            with self._lock:
                for flights in (self._boarding, self._running):
                    if flights.get(key) is mine:
                        del flights[key]
            mine.land(result, failure)
        return result

    def waiting(self, key: str) -> int:
        """How many readers wait for the next load of ``key``."""
        with self._lock:
            boarding = self._boarding.get(key)
            return 0 if boarding is None else boarding.passengers


def _twin(error: Exception) -> Exception:
    """An exception for one more thread: one object raised in several would mix up their tracebacks."""
    try:
        twin = copy(error)
    except Exception:  # noqa: BLE001  made of other arguments than it keeps: better the same one than another one
        return error
    return twin if type(twin) is type(error) else error

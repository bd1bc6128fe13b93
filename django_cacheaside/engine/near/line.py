"""What a near cache hears from the server: over one connection, by whoever comes by first.

A listener's thread alone would lag behind by tens of milliseconds wherever other threads compute. So who reads near
looks first whether something has arrived, and applies it; the keeper's thread sees to it that something does arrive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from django_cacheaside.exceptions import CacheAsideError, StoreUnavailableError
from django_cacheaside.failpoints import reach
from django_cacheaside.store.tracking import Beat, Following, Modified, Tracking


class Listener(Protocol):
    """Who is told what was heard, in its order."""

    def modified(self, keys: list[str] | None, /) -> None:
        """Keys are no more what they were; None for all of them."""
        ...

    def lost(self, line: Line, reason: object, /) -> None:
        """Nothing more will be heard on ``line``. Said once."""
        ...


class Line:
    """One connection, from its handshake to its loss. Any thread may ``hear``; one thread asks and closes.

    Attributes:
        run: The run id of the server.
        prefixes: The keys that are told of begin with one of them.
        synced_s: All that the server did until then has been heard; by our clock, ``-inf`` before its first answer.
        ahead_s: By how much the server's wall clock is ahead of our clock, at the least; None if it doesn't say.
    """

    def __init__(self, tracking: Tracking, listener: Listener) -> None:
        self._tracking = tracking
        self._listener = listener
        self._hearing = threading.Lock()
        self._last_beat_s = float("-inf")
        self._asked_at_s: float | None = None
        self._is_lost = False
        self.run = tracking.run
        self.is_silent: Callable[[], bool] = tracking.is_silent
        """Has nothing arrived? One system call."""
        self.is_busy: Callable[[], bool] = self._hearing.locked
        """Does somebody apply what he has taken off the connection? To be asked behind ``is_silent``."""
        self.prefixes: frozenset[str] = frozenset()
        self.synced_s = float("-inf")
        self.ahead_s: float | None = None

    def hear(self) -> bool:
        """Apply what has arrived. False if another thread is at it, if there is still more, or if it was the end."""
        if not self._hearing.acquire(blocking=False):
            return False
        try:
            return self._apply()
        finally:
            self._hearing.release()

    def _apply(self) -> bool:
        try:
            heard, is_all = self._tracking.hear()
            reach("before-drop")
            for one in heard:
                if isinstance(one, Modified):
                    self._listener.modified(one.keys)
                elif isinstance(one, Following):
                    self.prefixes |= frozenset(one.prefixes)
                else:
                    self._answered(one)
        except CacheAsideError as error:
            self.lose(error)
            return False
        except BaseException:  # what was taken off the connection and not applied is nowhere any more
            self.lose("it was interrupted")
            raise
        return is_all and not self._is_lost

    def _answered(self, beat: Beat) -> None:
        """What was done before the last beat but one is surely heard by now.

        Within one turn of its loop the server writes its replies first, and then what was modified by commands before.
        """
        if not beat.is_primary:
            raise StoreUnavailableError("its server has become a replica")
        self.synced_s, self._last_beat_s = self._last_beat_s, beat.sent_at_s
        self.ahead_s = None if beat.server_s is None else beat.server_s - beat.sent_at_s
        self._asked_at_s = None

    def ask(self, now_s: float, *, patience_s: float) -> None:
        """Ask the server whether it is there, unless it has still to answer: for longer than that, it is lost."""
        with self._hearing:
            try:
                if self._asked_at_s is None:
                    self._asked_at_s = now_s
                    self._tracking.beat(now_s)
                elif now_s - self._asked_at_s > patience_s:
                    self.lose("its server does not answer")
            except StoreUnavailableError as error:
                self.lose(error)

    def follow(self, prefixes: list[str]) -> None:
        """Ask to be told of more keys."""
        with self._hearing:
            try:
                self._tracking.follow(prefixes)
            except StoreUnavailableError as error:
                self.lose(error)

    def wait(self, timeout_s: float) -> None:
        """Until something arrives."""
        self._tracking.wait(timeout_s)

    def lose(self, reason: object) -> None:
        """From now on nothing that is near counts."""
        if not self._is_lost:
            self._is_lost = True
            self._listener.lost(self, reason)

    def close(self) -> None:
        """Hang up. Nobody is at the connection meanwhile: its number may be another file's at once."""
        with self._hearing:
            self._tracking.close()

"""The thread that keeps a near cache connected: it connects, asks for keys, and has the server answer all the time.

Readers never wait for it: as long as there is no connection they ask the server for each entry. Where no thread can be
started, there never is one; where it runs only while a request does (uWSGI without ``enable-threads``), what is near
counts as old after each pause.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from django_cacheaside.engine.near.line import Line, Listener
from django_cacheaside.exceptions import StoreUnavailableError, TrackingRefusedError
from django_cacheaside.store.tracking import Tracking
from django_cacheaside.threads import start_thread

logger = logging.getLogger("django_cacheaside")

RETRY_S = 1.0
"""How long after a failed attempt to connect the next one is made, in seconds."""

REFUSED_RETRY_S = 60.0
"""The same for a server that has no such connection for us."""

BEATS = 4
"""How often the server is asked for an answer in the time that a model allows a near entry to be old."""

SHORT_WAIT_S = 0.05
"""How long an answer is waited for before somebody else may read it."""


class Kept(Listener, Protocol):
    """What is kept connected."""

    line: Line | None

    @property
    def max_staleness_s(self) -> float: ...

    def prefixes(self) -> list[str]: ...

    def begin(self, line: Line, /) -> None: ...


class Keeper:
    """Of one process: a forked child makes its own.

    Args:
        connect: Makes a connection.
        kept: Is told of it, and of what is heard on it.
    """

    def __init__(self, connect: Callable[[], Tracking], kept: Kept) -> None:
        self._connect = connect
        self._kept = kept
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._is_refused = False
        self._was_lost = False

    def wake(self) -> None:
        """Begin, or ask for keys that are new."""
        if self._thread is not None:
            if self._kept.line is not None:
                self._woken.set()
            return
        with self._lock:
            if self._thread is None and not self._is_closed:
                self._thread = start_thread("near", self._run, otherwise="The near cache stays off")
                self._is_closed = self._thread is None

    def lost(self, reason: object) -> None:
        """The connection is over: said by whoever has found out."""
        self._woken.set()
        if isinstance(reason, TrackingRefusedError):
            self._refused(reason)
        elif not self._is_closed:
            self._was_lost = True
            logger.warning("The near cache is empty, and off until it is connected again: %s", reason)

    def close(self) -> None:
        """Hang up, and begin no more."""
        with self._lock:
            self._is_closed = True
            self._woken.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=1)

    def _run(self) -> None:
        while not self._is_closed:
            line = self._connected()
            if line is not None:
                try:
                    self._tend(line)
                finally:
                    line.lose("the thread that keeps it has ended")
                    line.close()
            if not self._is_closed:
                self._woken.clear()
                self._woken.wait(REFUSED_RETRY_S if self._is_refused else RETRY_S)

    def _connected(self) -> Line | None:
        try:
            line = Line(self._connect(), self._kept)
        except TrackingRefusedError as error:
            self._refused(error)
        except StoreUnavailableError:
            pass  # who reads rows says so
        else:
            self._kept.begin(line)
            return line
        return None

    def _refused(self, error: object) -> None:
        if not self._is_refused:
            logger.error("There is no near cache: the cache server does not tell which keys are modified. %s", error)
        self._is_refused = True

    def _tend(self, line: Line) -> None:
        followed: set[str] = set()
        is_said = False
        while not self._is_closed and self._kept.line is line:
            self._woken.clear()
            interval_s = self._kept.max_staleness_s / BEATS
            unheard = [prefix for prefix in self._kept.prefixes() if prefix not in followed]
            if unheard:
                followed.update(unheard)
                line.follow(unheard)
            line.ask(monotonic(), patience_s=self._kept.max_staleness_s)
            line.wait(min(interval_s, SHORT_WAIT_S))
            line.hear()
            if line.synced_s > float("-inf"):
                self._is_refused = False
                if self._was_lost and not is_said:
                    is_said, self._was_lost = True, False
                    logger.warning("The near cache is connected again.")
                self._woken.wait(interval_s)

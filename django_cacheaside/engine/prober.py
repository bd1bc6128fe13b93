"""The thread that tries the server while the circuit is open, so that no request has to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django_cacheaside.threads import start_thread

logger = logging.getLogger("django_cacheaside")

AFTER_FAULT_S = 1.0
"""Until the next turn after one that failed by a fault of ours, in seconds."""


class Prober:
    """At most one daemon thread, which lives from ``start`` until it is needed no more.

    Args:
        turn: What it does again and again. Returns the seconds until the next one.
        is_needed: Does it go on? Whoever makes that true calls ``start`` afterwards. Must not wait for anything.
    """

    def __init__(self, turn: Callable[[], float], is_needed: Callable[[], bool]) -> None:
        self._turn = turn
        self._is_needed = is_needed
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Have the thread at work. Where none can be started, callers probe in its place."""
        with self._lock:
            if self._thread is not None or self._ended.is_set():
                return
            self._thread = start_thread("prober", self._run, otherwise="The cache server is probed by requests")

    def end(self) -> None:
        """No turn begins any more. Returns at once."""
        self._ended.set()

    def _run(self) -> None:
        while not self._is_over():
            try:
                wait_s = self._turn()
            except Exception:  # the thread must not die while the circuit is open
                logger.exception("The cache server could not be probed, trying again.")
                wait_s = AFTER_FAULT_S
            self._ended.wait(wait_s)

    def _is_over(self) -> bool:
        with self._lock:  # who calls start() finds us at work, or gone
            if self._ended.is_set() or not self._is_needed():
                self._thread = None
                return True
            return False

"""The circuit between this process and the server.

    closed      every operation tries the server
    open        none does, for ``retry_s`` seconds after the last probe: no request waits for a server that is away
    half-open   one caller probes the server while the others still go past it

A circuit also stays open while this process owes the server an invalidation: a process that could not void what it
wrote must not serve it either. The owner of the debt says when it is paid (``debts``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django_cacheaside.clock import Clock
from django_cacheaside.exceptions import StoreUnavailableError

logger = logging.getLogger("django_cacheaside")


class Breaker:
    """One per process and server.

    Args:
        clock: Where the time comes from.
        probe: Tries the server and pays this process's debts. Returns False while some can't be paid yet; raises
            ``StoreUnavailableError`` if the server is still away.
        retry_s: Seconds between a failure and the next probe.
    """

    def __init__(self, clock: Clock, probe: Callable[[], bool], *, retry_s: float = 1.0) -> None:
        self._clock = clock
        self._probe = probe
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._probe_at_s = 0.0
        self._is_probing = False
        self._opened = 0
        self.is_open = False

    def lets_through(self) -> bool:
        """May the caller use the server? Costs nothing while closed; while open, one caller at a time probes first."""
        if not self.is_open:
            return True
        with self._lock:
            if self._is_probing or self._clock.monotonic_s() < self._probe_at_s:
                return False
            self._is_probing = True
            opened = self._opened
        return self._try_to_close(opened)

    def _try_to_close(self, opened: int) -> bool:
        is_well = False
        try:
            is_well = self._probe()
        except StoreUnavailableError:
            pass  # still away: the circuit stays open, and said so when it opened
        finally:
            with self._lock:
                self._is_probing = False
                # whoever opened the circuit again meanwhile has seen something newer than this probe
                is_well = is_well and self._opened == opened
                self._probe_at_s = self._clock.monotonic_s() + self._retry_s
                was_open, self.is_open = self.is_open, not is_well
        if is_well and was_open:
            logger.warning("The cache server answers again: reads are served from it.")
        return is_well

    def open(self, reason: object) -> None:
        """The server failed, or was never told of a write: go past it from now on."""
        with self._lock:
            was_open, self.is_open = self.is_open, True
            self._opened += 1
            if not was_open:  # a process that goes on writing would put its probe off for ever
                self._probe_at_s = self._clock.monotonic_s() + self._retry_s
        if not was_open:
            logger.error("The cache server is not used for now, reads go to the database: %s", reason)

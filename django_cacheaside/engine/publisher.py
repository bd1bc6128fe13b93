"""Tells the server now and then what this process has counted, so that one command shows what all have.

A thread of its own, never a request. What fails is told later, under the number that it had: it counts once, or not at
all. No failure opens the circuit: a user that may not write these keys, or a server too full for them, still serves.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping

from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.engine.hot import HotKeys
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.store.published import Publication, Published
from django_cacheaside.threads import start_thread

logger = logging.getLogger("django_cacheaside")

INTERVAL_S = 10.0
MOST_HOT = 50
"""Hot keys that a process tells each time."""

HOUR_S = 3600
AT_EXIT_S = 0.5
"""How long an exit waits for a publication that is under way."""


class Publisher:
    """One per process and server.

    Args:
        totals: What was counted since the process began, by field. Fields that are zero are absent.
        now_s: The time of day, in seconds of Unix time.
    """

    def __init__(
        self,
        published: Published,
        breaker: Breaker,
        totals: Callable[[], Mapping[str, int]],
        hot: HotKeys,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._published = published
        self._breaker = breaker
        self._totals = totals
        self._hot = hot
        self._now_s = now_s
        self._process = os.urandom(6).hex()  # from the kernel: a fork's child has another one
        self._sequence = 1
        self._told = totals()  # before a fork, or before the settings changed: not ours to tell
        self._pending: Publication | None = None
        self._lock = threading.Lock()
        self._start_lock = threading.Lock()
        self._end = threading.Event()
        self._is_started = False

    def start(self) -> None:
        """Publish every ten seconds or so from now on, if there is anything new. Idempotent."""
        if self._is_started:
            return
        with self._start_lock:
            if not self._is_started:
                self._is_started = True
                otherwise = "The counts of this process are published when it ends"
                start_thread("statistics", self._run, otherwise=otherwise)

    def close(self) -> None:
        """Publish no more. The thread ends by itself."""
        self._end.set()

    def publish(self) -> None:
        """Tell what is new: one round trip, two after a failure, none if nothing is.

        Raises:
            StoreUnavailableError: The server did not take it. It is kept, and told by a later call.
        """
        with self._lock:
            self._publish()

    def publish_at_exit(self) -> None:
        """The same, for the last time, if this process has published by itself. Raises nothing."""
        if not self._is_started or self._end.is_set() or self._breaker.is_open:
            return
        self._end.set()
        if not self._lock.acquire(timeout=AT_EXIT_S):
            return
        try:
            self._publish()
        except Exception as error:  # noqa: BLE001  an exit is not the time to fail over a count
            logger.debug("The last counts were not published: %s", error)
        finally:
            self._lock.release()

    def _publish(self) -> None:
        if self._pending is not None and self._hour() - self._pending.hour > 1:
            self._pending = None  # it has failed for an hour: something else is at its key
        if self._pending is not None:
            self._send(self._pending)
        self._pending = self._cut()
        if self._pending is not None:
            self._send(self._pending)

    def _send(self, publication: Publication) -> None:
        self._published.add(publication)
        self._pending = None

    def _cut(self) -> Publication | None:
        """What is new since the last cut; None if nothing is."""
        totals, told = self._totals(), self._told
        counts = {field: new for field, total in totals.items() if (new := total - told.get(field, 0))}
        hot = self._hot.take(MOST_HOT)
        if not counts and not hot:
            return None
        self._told = totals
        publication = Publication(self._hour(), self._process, self._sequence, counts, hot)
        self._sequence += len(publication.parts)
        return publication

    def _hour(self) -> int:
        return int(self._now_s() // HOUR_S)

    def _run(self) -> None:
        while not self._end.wait(INTERVAL_S * (0.75 + random.random() / 2)):  # noqa: S311  spreads the processes
            if self._breaker.is_open:
                continue
            try:
                self.publish()
            except StoreUnavailableError as error:
                logger.debug("The counts of this process were not published, they are kept: %s", error)
            except Exception:  # a thread of ours must not die of one publication
                logger.exception("The counts of this process could not be published.")

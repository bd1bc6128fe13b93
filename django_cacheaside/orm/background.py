"""Threads of ours that load rows while readers are served: few, started when there is work, gone when there is none.

Each has its own connections to the databases, as every thread has, and closes them when it has been idle for
``IDLE_S``. A child of a fork starts its own. In a test run there are none: they could not see what a test has not
committed, and would keep its database in use.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from django.core import mail
from django.db import close_old_connections, connections

from django_cacheaside.threads import start_thread

logger = logging.getLogger("django_cacheaside")

THREADS = 2
MOST_WAITING = 100
"""What may wait for a thread; what comes then is not done."""

IDLE_S = 1.0


def may_have_threads() -> bool:
    """Is this no test run? Told by Django's own mark of one."""
    return not hasattr(mail, "outbox")


class Background:
    """Does things later. Safe to share between threads.

    Args:
        threads: How many at once.
    """

    def __init__(self, *, threads: int = THREADS) -> None:
        self._most_threads = threads
        self._waiting: queue.Queue[Callable[[], object]] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._threads = 0
        self._is_closed = False

    def later(self, task: Callable[[], object]) -> bool:
        """Do ``task`` soon, on another thread. False if too much waits already, or there is none: it is not done."""
        with self._lock:  # a thread that ends looks at the queue a last time under it
            if self._is_closed or not self._has_thread():
                return False
            try:
                self._waiting.put_nowait(task)
            except queue.Full:
                return False
        return True

    def _has_thread(self) -> bool:
        """Start one more, up to the most. Is there any?"""
        if self._threads < self._most_threads:
            if start_thread("refresh", self._work) is None:
                return self._threads > 0
            self._threads += 1
        return True

    def close(self) -> None:
        """Take nothing more. What waits is done."""
        self._is_closed = True

    def _work(self) -> None:
        try:
            while (task := self._next()) is not None:
                _do(task)
        finally:
            connections.close_all()

    def _next(self) -> Callable[[], object] | None:
        try:
            return self._waiting.get(timeout=IDLE_S)
        except queue.Empty:
            with self._lock:
                try:
                    return self._waiting.get_nowait()
                except queue.Empty:
                    self._threads -= 1
                    return None


def _do(task: Callable[[], object]) -> None:
    for step in (close_old_connections, task):
        try:
            step()
        except Exception:  # noqa: PERF203  a thread of ours must not die of one task, nor lose one
            logger.exception("Something that was to be done in the background failed.")

"""Threads that begin together, and stay: their connections to the databases are made once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from django.db import connections
from typing_extensions import Self

T = TypeVar("T")

PATIENCE_S = 60.0
"""How long anybody waits for the others to be there, in seconds."""


class Team:
    """So many threads. A context manager; at its end they hang up.

    A run ends when the last of them is through.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._threads = ThreadPoolExecutor(size)
        self._begin = threading.Barrier(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._begin.reset()
        self.run([connections.close_all] * self.size)
        self._threads.shutdown()

    def run(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """Do one job in each thread; they begin when all are there. Raises what the first of them raised."""
        assert len(jobs) == self.size
        return list(self._threads.map(self._do, jobs))

    def _do(self, job: Callable[[], T]) -> T:
        self._begin.wait(PATIENCE_S)  # so each thread takes one
        return job()

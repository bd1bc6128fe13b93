"""Servers, readers, writers, and a line to the server for each of them."""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from example_project.embedded import EmbeddedValkey
from tests.faults import parts
from tests.faults.nursery import Nursery, Part
from tests.faults.proxy import Proxy
from tests.soak import reader, writer

READERS = 4
WRITERS = 3

RELAY_INTERVAL_S = 1.0

CACHEASIDE: dict[str, Any] = {
    "INTENT": 5,
    "TIMEOUT": 0.25,
    "CONNECT_TIMEOUT": 0.25,
    "RELAY_INTERVAL": RELAY_INTERVAL_S,
}
"""A dead writer's intents stand for 5 s, so that its rows are served again within the run; the time-outs allow for nine
processes on two cores."""

SOLE_GUARD = "no_commit_work"
"""What ``--without-commit-work`` takes off, of ``tests.races.mutants``."""

DIED_S = 0.5
"""How long a writer may take to come to the failpoint at which it is to die, in seconds; then it is killed anywhere."""


class Fleet:
    """Everybody who takes part. A context manager.

    Args:
        is_cached: False for the control that reads the database.
        lose: The guard that everybody goes on without.
    """

    def __init__(self, valkey: EmbeddedValkey, rng: random.Random, *, is_cached: bool, lose: str | None) -> None:
        self._valkey = valkey
        self._rng = rng
        self._settings = {**CACHEASIDE, "ENABLED": is_cached}
        self._lose = lose
        self._stack = ExitStack()
        self.lines: dict[tuple[str, int], Proxy] = {}
        self.readers: list[Part] = []
        self.writers: list[Part] = []
        self.logbooks: list[tuple[int, Path]] = []

    def __enter__(self) -> Self:
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cas-", dir="/tmp"))
        self._directory = Path(directory)
        self._nursery = self._stack.enter_context(Nursery("tests.soak.settings"))
        for kind, count in (("reader", READERS), ("writer", WRITERS)):
            for number in range(count):
                path = str(self._directory / f"{kind}{number}")
                self.lines[kind, number] = self._stack.enter_context(Proxy(path, f"{self._valkey.directory}/socket"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for line in self.lines.values():
            line.mend()
        self._stack.close()

    def begin(self) -> None:
        """Everybody goes to work."""
        for number in range(READERS):
            part = self._part("reader", number)
            part(reader.begin, number, self._rng.getrandbits(32))
            self.readers.append(part)
        for number in range(WRITERS):
            self.writers.append(self._begin_writer(number))

    def _part(self, kind: str, number: int) -> Part:
        part = self._nursery.fork()
        address = f"unix://{self.lines[kind, number].address}?db=0"
        part(parts.settle, address, pg_host=None, options={}, cacheaside=self._settings)
        if self._lose is not None:
            part(parts.lose, self._lose)
        return part

    def _begin_writer(self, number: int) -> Part:
        part = self._part("writer", number)
        logbook = self._directory / f"log{len(self.logbooks)}"
        self.logbooks.append((number, logbook))
        part(writer.begin, str(logbook), self._rng.getrandbits(32))
        return part

    def kill_writer(self, number: int, failpoint: str) -> None:
        """SIGKILL, wherever it is, or by itself at a failpoint."""
        part = self.writers[number]
        if failpoint:
            part.begin(writer.die_at, failpoint)
            time.sleep(DIED_S)
        part.kill()
        part.close()

    def replace_writer(self, number: int) -> None:
        """Another one in the place of a dead one."""
        self.writers[number] = self._begin_writer(number)

"""A writer's life: it acts on and on, and says so in a file that outlives it. Runs in a process of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection, connections
from psycopg.errors import AdminShutdown

from django_cacheaside import failpoints
from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from tests.faults import parts
from tests.soak.acts import State, act
from tests.soak.unexpected import said

PAUSE_S = 0.004
"""Between two acts, on average."""

DEADLY = ("before-intent", "after-intent", "before-commit", "after-commit", "after-release")
"""The failpoints at which a writer can be told to die."""


class _Writer(threading.Thread):
    def __init__(self, file: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self.is_stopped = threading.Event()
        self.dies_at = ""
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._rng = random.Random(seed)
        self._count = 0
        self._unannounced = self._missing = 0
        self._after_commit_s = 0.0

    def run(self) -> None:
        for name in DEADLY:
            failpoints._armed[name] = partial(self._reach, name)
        while not self.is_stopped.wait(self._rng.uniform(0, 2 * PAUSE_S)):
            self._act()
        connections.close_all()

    def _act(self) -> None:
        try:
            act(self._rng, self)
        except Exception as error:
            if has_hung_up(error):  # what was sent is committed, or not
                connection.close()
            else:
                self._say("error", traceback.format_exc())
        while said:
            self._say("error", said.pop())

    def _reach(self, name: str) -> None:
        if threading.current_thread() is not self:
            return
        if name == "before-commit" and self._counts()[Event.LOST_INVALIDATION] > self._unannounced:
            self._say("unannounced", self._count)
        if name == "after-commit":
            self._after_commit_s = time.monotonic()
        if name == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def sends(self, act: str, states: Sequence[State]) -> None:
        """See ``acts.Log``."""
        self._count += 1
        counts = self._counts()
        self._unannounced, self._missing = counts[Event.LOST_INVALIDATION], counts[Event.MISSING_INTENT]
        self._after_commit_s = 0.0
        self._say("sends", self._count, act, time.monotonic(), list(states))

    def is_acknowledged(self, states: Sequence[State] = ()) -> None:
        """See ``acts.Log``. The time is that before the release was sent, where there was one."""
        acked_s = self._after_commit_s or time.monotonic()
        counts = self._counts()
        unannounced = counts[Event.LOST_INVALIDATION] > self._unannounced
        missing = counts[Event.MISSING_INTENT] > self._missing
        self._say("acknowledged", self._count, acked_s, unannounced, missing, list(states))

    @staticmethod
    def _counts() -> dict[Event, int]:
        return runtime.current().invalidator.tally.counts

    def _say(self, *what: Any) -> None:
        os.write(self._file, json.dumps(what).encode() + b"\n")


def has_hung_up(error: BaseException | None) -> bool:
    """Is the database's ending of the connection where all this began?"""
    while error is not None:
        if isinstance(error, AdminShutdown):
            return True
        if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) and error.sqlstate is None:
            return True
        error = error.__cause__ or error.__context__
    return False


_writers: list[_Writer] = []


def begin(file: str, seed: int) -> None:
    """Write on and on."""
    writer = _Writer(Path(file), seed)
    _writers.append(writer)
    writer.start()


def die_at(failpoint: str) -> None:
    """The next time that the writer comes there, it kills itself."""
    _writers[0].dies_at = failpoint


def end() -> None:
    """Stop behind the act that is under way."""
    (writer,) = _writers
    writer.is_stopped.set()
    writer.join()


def owes(limit_s: float) -> bool:
    """Try the server as requests do: is anything still owed to it?"""
    return parts.tell(limit_s) is None

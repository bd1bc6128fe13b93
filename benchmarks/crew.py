"""Processes that begin together, each with connections of its own: forked by a clean one that has set Django up.

Their servers are the benchmark's. They end when it hangs up, and at once when it is killed: the kernel kills whom the
dead process has started (``PR_SET_PDEATHSIG``, on Linux; elsewhere they end after what they are at).

``python -m benchmarks.crew`` is the clean process itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from redis import Redis
from typing_extensions import Self

from benchmarks.servers import Where, configure

ANSWER_S = 60.0
"""How long anybody waits for an answer, in seconds."""

PR_SET_PDEATHSIG = 1


class MemberError(Exception):
    """A process did not do its part: its traceback, or what was waited for."""


class Crew:
    """So many processes. A context manager; 1 s to start."""

    def __init__(self, size: int, where: Where) -> None:
        self._size = size
        self._where = where

    def __enter__(self) -> Self:
        pipes = [Pipe() for _ in range(self._size)]
        theirs = [their.fileno() for _, their in pipes]
        self._lines = [our for our, _ in pipes]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crew", *map(str, theirs)],
            pass_fds=theirs,
            stdin=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        for _, their in pipes:
            their.close()
        assert self._process.stdin is not None
        pickle.dump(self._where, self._process.stdin)
        self._process.stdin.flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for line in self._lines:
            line.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(ANSWER_S)

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a function of a module in each process, with its own arguments; they begin when all are ready.

        Raises:
            MemberError: It raised, or did not end.
        """
        assert len(arguments) == self._size
        for line, own in zip(self._lines, arguments, strict=True):
            line.send((function, own))
        for line in self._lines:
            _receive(line)
        for line in self._lines:
            line.send("go")
        return [_receive(line) for line in self._lines]


def _receive(line: Connection) -> Any:
    if not line.poll(ANSWER_S):
        raise MemberError(f"no answer within {ANSWER_S} s")
    try:
        is_well, answer = line.recv()
    except EOFError:
        raise MemberError("the process has ended") from None
    if not is_well:
        raise MemberError(answer)
    return answer


# --- the other end ---------------------------------------------------------------------------------------------------


@cache
def client() -> Redis:
    """This process's plain client of the servers' Valkey."""
    from django.conf import settings

    return Redis.from_url(settings.CACHES["default"]["LOCATION"])


def bring_up(fds: Sequence[int]) -> None:
    """The clean process's whole life: fork one for each line, wait until the benchmark hangs up."""
    _die_with_parent()
    configure(pickle.load(sys.stdin.buffer))
    import_module("benchmarks.ground").keep_us_off()  # has models: needs the settings
    members: list[int] = []
    for fd in fds:
        member = os.fork()
        if member == 0:
            for other in fds:
                if other != fd:
                    os.close(other)
            _live(Connection(fd))
        members.append(member)
    for fd in fds:
        os.close(fd)
    sys.stdin.buffer.read()
    for member in members:
        os.waitpid(member, 0)


def _live(line: Connection) -> None:
    """A forked process's whole life."""
    _die_with_parent()
    try:
        with contextlib.suppress(EOFError, OSError):
            while True:
                line.send(_answer(line))
    finally:
        os._exit(0)


def _answer(line: Connection) -> tuple[bool, Any]:
    function, arguments = line.recv()
    line.send((True, "ready"))
    line.recv()
    try:
        return True, function(*arguments)
    except Exception:  # noqa: BLE001  told to who asked
        return False, traceback.format_exc()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    bring_up([int(fd) for fd in sys.argv[1:]])

"""A warmed process that forks those who take part in a fault: in 20 ms each, where Django alone takes a second.

They are real processes, with their own memory, connections and circuit. Who forked them ends with the test run, and
they with it: the kernel kills them, frozen or not (``PR_SET_PDEATHSIG``).

``python -m tests.faults.nursery`` is the warmed process itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from django.conf import settings
from django.db import connections
from typing_extensions import Self

ANSWER_S = 30.0
"""How long anybody waits for an answer, in seconds. Longer than anything that is asked takes on a busy machine."""

PR_SET_PDEATHSIG = 1

Function = Callable[..., Any]


class PartError(Exception):
    """A process did not do its part: its traceback, or what was waited for. No ``AssertionError``: no mutant passes."""


class Part:
    """A process that takes part, as the test sees it. It does one thing at a time, and can be held at failpoints.

    writer.begin(parts.write, pk, 1, hold_at=["after-intent"])
    writer.wait_held()
    writer.kill()
    """

    def __init__(self, nursery: Nursery, pid: int, line: Connection) -> None:
        self._nursery = nursery
        self._line = line
        self.pid = pid

    def __call__(self, function: Function, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function of a module there, and return what it returns."""
        self.begin(function, *args, **kwargs)
        return self.result()

    def begin(self, function: Function, /, *args: Any, hold_at: Iterable[str] = (), **kwargs: Any) -> None:
        """Have it begin; ``result`` must be asked for before the next thing.

        Args:
            hold_at: The failpoints at which it stops, one after the other, each time until ``go_on``.
        """
        self._line.send((function, args, kwargs, list(hold_at)))

    def wait_held(self) -> float:
        """Until it stands at its next failpoint. Returns when it came there, by the clock that all processes share."""
        kind, value = self._receive()
        if kind != "held":
            raise PartError(f"it was to be held, but: {value}")
        return float(value)

    def go_on(self) -> None:
        """Let it go on from where it is held."""
        self._line.send("go on")

    def result(self) -> Any:
        """What the function returned."""
        kind, value = self._receive()
        if kind != "done":
            raise PartError(value)
        return value

    def _receive(self) -> tuple[str, Any]:
        if not self._line.poll(ANSWER_S):
            raise PartError(f"no answer within {ANSWER_S} s")
        try:
            answer: tuple[str, Any] = self._line.recv()
        except EOFError:
            raise PartError("the process has ended") from None
        return answer

    def kill(self) -> None:
        """SIGKILL, and wait until nothing is left of it but its number."""
        os.kill(self.pid, signal.SIGKILL)
        try:
            while True:
                self._receive()
        except PartError:
            pass

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it, if it still runs, and reap it: until then its number can be nobody else's."""
        os.kill(self.pid, signal.SIGKILL)
        self._line.close()
        self._nursery.reap(self.pid)


class Nursery:
    """The warmed process, as the test run sees it. A context manager; 1 s to start.

    Args:
        settings: The module of Django's settings for all that it forks.
    """

    def __init__(self, settings: str = "tests.settings") -> None:
        self._settings = settings

    def __enter__(self) -> Self:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "DJANGO_SETTINGS_MODULE": self._settings},
                cwd=Path(__file__).parents[2],
            )
        self._line.settimeout(ANSWER_S)
        names = {alias: str(connections[alias].settings_dict["NAME"]) for alias in connections}
        self._line.send(repr(names).encode())
        self._line.recv(64)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._line.close()
        self._process.wait(ANSWER_S)

    def fork(self) -> Part:
        """One more process."""
        ours, theirs = Pipe()
        with theirs:
            socket.send_fds(self._line, [b"fork"], [theirs.fileno()])
            pid = int(self._line.recv(64))
        return Part(self, pid, ours)

    def reap(self, pid: int) -> None:
        """Forget a process that was killed."""
        self._line.send(b"%d" % pid)
        self._line.recv(64)


# --- the other end ---------------------------------------------------------------------------------------------------


def bring_up(line: socket.socket) -> None:
    """The warmed process's whole life: fork when asked, until the test run hangs up."""
    import ast

    import django

    names = ast.literal_eval(line.recv(65_536).decode())
    for alias, name in names.items():
        settings.DATABASES[alias]["NAME"] = name
    django.setup()
    import django.db.backends.postgresql.base

    import tests.faults.parts  # noqa: F401  what they will need

    line.send(b"ready")
    while True:
        message, fds, _, _ = socket.recv_fds(line, 64, 1)
        if not message:
            return
        if message != b"fork":
            os.waitpid(int(message), 0)
            line.send(b"gone")
            continue
        pid = os.fork()
        if pid == 0:
            line.close()
            grow_up(Connection(fds[0]))
        os.close(fds[0])
        line.send(b"%d" % pid)


def grow_up(line: Connection) -> None:
    """A forked process's whole life: do what it is asked to, until nobody asks any more."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    status = 1
    try:
        with contextlib.suppress(EOFError, OSError):
            _do_as_told(line)
        status = 0
    finally:
        os._exit(status)


def _do_as_told(line: Connection) -> None:
    from tests.faults import parts

    def hold(at_s: float) -> None:
        line.send(("held", at_s))
        line.recv()

    parts.on_hold(hold)
    while True:
        function, args, kwargs, hold_at = line.recv()
        parts.hold_at(hold_at)
        try:
            answer = ("done", function(*args, **kwargs))
        except Exception:
            answer = ("failed", traceback.format_exc())
        line.send(answer)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as upwards:
        bring_up(upwards)

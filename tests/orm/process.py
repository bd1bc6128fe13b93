"""A second process for tests: other memory, other connections, the same databases and the same Valkey.

It is asked over a socket by functions of modules and their arguments, and ends when the socket is closed: at the
latest with the process that started it. ``python -m tests.orm.process`` is its other end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections
from django.utils.module_loading import import_string

ANSWER_S = 60.0
"""How long an answer may take, in seconds. Longer than anything that is asked takes on a busy machine."""


class ProcessError(Exception):
    """What was asked there failed there: its traceback."""


class Process:
    """One that has set Django up and waits for calls.

    Args:
        settings_module: Its settings; those of the tests, if nothing is said.
    """

    def __init__(self, settings_module: str = "tests.settings") -> None:
        self._socket, theirs = Pipe()
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.orm.process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "DJANGO_SETTINGS_MODULE": settings_module},
                cwd=Path(__file__).parents[2],
            )
        self._socket.send({alias: str(connections[alias].settings_dict["NAME"]) for alias in connections})

    @property
    def pid(self) -> int:
        return self._child.pid

    def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function there. It is sent by its name: one of a module, not of a test."""
        self._socket.send((function, args, kwargs))
        if not self._socket.poll(ANSWER_S):
            raise TimeoutError(f"the second process did not answer within {ANSWER_S} s")
        has_failed, answer = self._socket.recv()
        if has_failed:
            raise ProcessError(answer)
        return answer

    def call(self, path: str, /, *args: Any) -> Any:
        """Call a function that only that process can import, by its dotted path."""
        return self(_call, path, *args)

    def close(self) -> None:
        """Hang up, and see it end."""
        self._socket.close()
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def _call(path: str, *args: Any) -> Any:
    return import_string(path)(*args)


def answer_until_hung_up(socket: Connection) -> None:
    """The other end: call what is asked for."""
    import django

    for alias, name in socket.recv().items():
        settings.DATABASES[alias]["NAME"] = name
    django.setup()
    while True:
        try:
            function, args, kwargs = socket.recv()
        except EOFError:
            return
        try:
            answer = (False, function(*args, **kwargs))
        except Exception:
            answer = (True, traceback.format_exc())
        socket.send(answer)


if __name__ == "__main__":
    answer_until_hung_up(Connection(int(sys.argv[1])))

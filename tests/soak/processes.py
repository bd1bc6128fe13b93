"""Processes of a soak: forked by a warmed one, as those of ``tests.faults``, with the soak's models."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from django.db import connections
from typing_extensions import Self

from tests.faults.nursery import ANSWER_S, Nursery


class SoakNursery(Nursery):
    """The warmed process. It ends with this program, and all that it has forked with it."""

    def __enter__(self) -> Self:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.soak.settings"},
                cwd=Path(__file__).parents[2],
            )
        self._line.settimeout(ANSWER_S)
        names = {alias: str(connections[alias].settings_dict["NAME"]) for alias in connections}
        self._line.send(repr(names).encode())
        self._line.recv(64)
        return self

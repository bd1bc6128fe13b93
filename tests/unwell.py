"""A server that a signal makes unwell."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from example_project.embedded import EmbeddedValkey


def kill(valkey: EmbeddedValkey) -> None:
    """Stop the server as a crash does."""
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)


@contextmanager
def hung(valkey: EmbeddedValkey) -> Iterator[None]:
    """It takes connections and says nothing."""
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey.pid, signal.SIGCONT)

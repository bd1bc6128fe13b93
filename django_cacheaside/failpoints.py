"""Named places where a test can stop a thread, kill a process, or raise.

A race is forced by holding one side at a failpoint until the other has passed; nothing here runs unless a test armed
it. The hit path by primary key has no failpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_armed: dict[str, Callable[[], None]] = {}


def reach(name: str) -> None:
    """Run what is armed at ``name``, if anything."""
    if _armed and (action := _armed.get(name)) is not None:
        action()


@contextmanager
def armed(name: str, action: Callable[[], None]) -> Iterator[None]:
    """Run ``action`` in every thread that reaches ``name`` inside the block."""
    _armed[name] = action
    try:
        yield
    finally:
        del _armed[name]

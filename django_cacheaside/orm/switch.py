"""Reads past the cache for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_disabled: ContextVar[bool] = ContextVar("cacheaside_is_disabled", default=False)


@contextmanager
def disabled() -> Iterator[None]:
    """Read the database inside the block, in this thread or task and what it awaits. Writes invalidate as ever."""
    token = _is_disabled.set(True)
    try:
        yield
    finally:
        _is_disabled.reset(token)


def is_disabled() -> bool:
    """Are we inside ``disabled()``?"""
    return _is_disabled.get()

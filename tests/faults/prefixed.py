"""What a process of ``prefixed_settings`` is asked to do."""

from __future__ import annotations

import logging
import time

from django.db import transaction

from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from tests.app.models import Product

_said: list[tuple[str, str]] = []


class _Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _said.append((record.levelname, record.getMessage()))


logging.getLogger("django_cacheaside").addHandler(_Listener())


def read(pk: int) -> tuple[int, bool]:
    """The row's version, and whether it was a hit."""
    counts = registry.for_model(Product).tally.counts
    before = counts[Event.HIT]
    version = Product.cached.get(pk=pk).version
    return version, counts[Event.HIT] > before


def read_until_told(pk: int, wanted: int, limit_s: float) -> list[tuple[float, int]]:
    """Read on and on until the version is ``wanted``: when each read began, and what it saw."""
    seen: list[tuple[float, int]] = []
    end_s = time.monotonic() + limit_s
    while not seen or (seen[-1][1] != wanted and time.monotonic() < end_s):
        began_s = time.monotonic()
        seen.append((began_s, read(pk)[0]))
    return seen


def write(pk: int, version: int) -> float:
    """In a transaction. Returns when its COMMIT had been acknowledged, by the clock that all processes share."""
    with transaction.atomic():
        Product.objects.filter(pk=pk).update(version=version)
    return time.monotonic()


def wait_for_a_hit(pk: int, limit_s: float) -> tuple[int, bool]:
    """Read until it is a hit."""
    end_s = time.monotonic() + limit_s
    while True:
        found = read(pk)
        if found[1] or time.monotonic() > end_s:
            return found
        time.sleep(0.05)


def contested_reads() -> int:
    """How many rows were read from the database because others make the keys differently."""
    return registry.for_model(Product).tally.counts[Event.CONTESTED]


def said() -> list[tuple[str, str]]:
    """What was logged: level and text."""
    return _said


def forget_the_record() -> None:
    """The server evicts what everybody has announced."""
    (agreement,) = runtime.current().agreements.all()
    runtime.current().store._pool.call(("DEL", agreement._announcements[0].record))

"""How the rows of one page were served."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from django_cacheaside.engine.tally import Event
from django_cacheaside.orm.registry import registry


class Served:
    """What a page cost. Hits and misses are the process's: those of a page served at the same time count too."""

    hits = misses = queries = 0
    milliseconds = 0.0


@contextmanager
def served() -> Iterator[Served]:
    """Count what the block reads; the result is complete after it."""
    page, before, began_s = Served(), _counts(), time.perf_counter()

    def count(execute: Callable[..., Any], *args: Any) -> Any:
        page.queries += 1
        return execute(*args)

    with connection.execute_wrapper(count):
        yield page
    page.milliseconds = 1000 * (time.perf_counter() - began_s)
    counts = _counts() - before
    page.hits = counts[Event.HIT]
    page.misses = counts[Event.MISS] + counts[Event.BYPASS]


def _counts() -> Counter[Event]:
    return sum((Counter(registration.tally.counts) for registration in registry), Counter())

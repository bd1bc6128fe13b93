"""A row that is not cached: look, acquire, load and fill against the ORM's SELECT alone.

The entries are deleted before each round, by a client of its own; the model's epoch stays, as it does when the server
evicts a row.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

from benchmarks.counting import round_trips
from benchmarks.ground import BATCH, Ground, bare
from benchmarks.measure import Contender, Effort, in_turn
from benchmarks.models import Bare, Kept
from benchmarks.report import Figure, Target, counted, timed
from benchmarks.servers import POSTGRESQL, SQLITE, WITHOUT_US

NAMES = {SQLITE: "SQLite", POSTGRESQL: "PostgreSQL"}
BATCHES = 6
TARGETS = {SQLITE: Target(1.8, of="ratio"), POSTGRESQL: None}


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Measure it, on each database against itself."""
    return [*_on(ground, effort, SQLITE), *_on(ground, effort, POSTGRESQL)]


def _on(ground: Ground, effort: Effort, alias: str) -> list[Figure]:
    database = NAMES[alias]
    floor_one = f"objects.get(pk=…), {database}, without us"
    miss_one = f"Model.cached.get(pk=…), {database}, a miss"
    floor_many = f"objects.in_bulk({BATCH} pks), {database}, without us"
    miss_many = f"Model.cached.in_bulk({BATCH} pks), {database}, all missed"
    cached = _cached(alias)
    alone = bare(Bare, WITHOUT_US[alias])
    pks = ground.pks
    batches = [list(pks[start : start + BATCH]) for start in range(0, len(pks), BATCH)]
    missed, found, missed_batches, found_batches = cycle(pks), cycle(pks), cycle(batches), cycle(batches)

    def evict() -> None:
        ground.client.delete(*ground.keys(pks, alias))

    cached().get(pk=pks[0])  # the epoch, and the SELECT compiled
    timings = in_turn(
        [
            Contender(floor_one, lambda: alone.get(pk=next(found)), 100),
            Contender(miss_one, lambda: cached().get(pk=next(missed)), 100, prepare=evict),
            Contender(floor_many, lambda: alone.in_bulk(next(found_batches)), BATCHES),
            Contender(miss_many, lambda: cached().in_bulk(next(missed_batches)), BATCHES, prepare=evict),
        ],
        effort,
    )
    evict()
    trips_one = round_trips(lambda: cached().get(pk=pks[0]))
    evict()
    trips_many = round_trips(lambda: cached().in_bulk(batches[0]))
    return [
        timed("miss", timings, floor_one),
        timed("miss", timings, miss_one, floor=floor_one, target=TARGETS[alias]),
        timed("miss", timings, floor_many),
        timed("miss", timings, miss_many, floor=floor_many),
        counted("miss", miss_one, trips_one, expected=3),
        counted("miss", miss_many, trips_many, expected=3),
    ]


def _cached(alias: str) -> Callable[[], Any]:
    """``Model.cached``, as somebody spells it who reads that database."""
    return (lambda: Kept.cached) if alias == SQLITE else (lambda: Kept.cached.using(alias))

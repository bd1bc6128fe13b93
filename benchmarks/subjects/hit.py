"""A warm row: ``Model.cached.get(pk=…)`` against what redis-py alone takes to bring the same bytes."""

from __future__ import annotations

from itertools import cycle

from benchmarks.counting import round_trips
from benchmarks.ground import Ground, bare
from benchmarks.measure import Contender, Effort, in_turn
from benchmarks.models import Bare, Kept
from benchmarks.report import Figure, Target, counted, timed
from benchmarks.servers import POSTGRESQL, SQLITE, WITHOUT_US

FLOOR = "redis-py GET of the same bytes (the floor)"
HIT = "Model.cached.get(pk=…), warm"
SQLITE_GET, POSTGRESQL_GET = "objects.get(pk=…), SQLite, without us", "objects.get(pk=…), PostgreSQL, without us"


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Measure it, over the rows of a batch in turn."""
    pks = ground.batch
    Kept.cached.in_bulk(pks)
    keys, ours, in_sqlite, in_postgresql = cycle(ground.keys(pks)), cycle(pks), cycle(pks), cycle(pks)
    assert all(ground.client.exists(key) for key in ground.keys(pks))
    get, cached = ground.client.get, Kept.cached
    sqlite, postgresql = bare(Bare, WITHOUT_US[SQLITE]), bare(Bare, WITHOUT_US[POSTGRESQL])
    timings = in_turn(
        [
            Contender(FLOOR, lambda: get(next(keys)), 500),
            Contender(HIT, lambda: cached.get(pk=next(ours)), 500),
            Contender(SQLITE_GET, lambda: sqlite.get(pk=next(in_sqlite)), 100),
            Contender(POSTGRESQL_GET, lambda: postgresql.get(pk=next(in_postgresql)), 100),
        ],
        effort,
    )
    return [
        timed("hit", timings, FLOOR),
        timed("hit", timings, HIT, floor=FLOOR, target=Target(1.3, of="ratio")),
        timed("hit", timings, SQLITE_GET, floor=FLOOR),
        timed("hit", timings, POSTGRESQL_GET, floor=FLOOR),
        counted("hit", "Model.cached.get(pk=…), warm", round_trips(lambda: cached.get(pk=pks[0])), expected=1),
    ]

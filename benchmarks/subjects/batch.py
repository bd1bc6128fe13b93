"""A hundred warm rows: ``Model.cached.in_bulk(…)`` against one GET, and against the MGET that it needs."""

from __future__ import annotations

from itertools import cycle

from benchmarks.counting import round_trips
from benchmarks.ground import BATCH, Ground, bare
from benchmarks.measure import Contender, Effort, in_turn
from benchmarks.models import Bare, Kept
from benchmarks.report import Figure, Target, counted, timed
from benchmarks.servers import POSTGRESQL, SQLITE, WITHOUT_US

FLOOR = "redis-py GET of one of them (the floor)"
MGET = f"redis-py MGET of {BATCH + 1} keys (the second floor)"
HITS = f"Model.cached.in_bulk({BATCH} pks), warm"
SQLITE_BULK = f"objects.in_bulk({BATCH} pks), SQLite, without us"
POSTGRESQL_BULK = f"objects.in_bulk({BATCH} pks), PostgreSQL, without us"


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Measure it, with the same rows each time."""
    pks = ground.batch
    assert len(Kept.cached.in_bulk(pks)) == BATCH
    wanted = [ground.epoch(), *ground.keys(pks)]
    keys = cycle(wanted[1:])
    client, cached = ground.client, Kept.cached
    assert None not in client.mget(wanted)
    sqlite, postgresql = bare(Bare, WITHOUT_US[SQLITE]), bare(Bare, WITHOUT_US[POSTGRESQL])
    timings = in_turn(
        [
            Contender(FLOOR, lambda: client.get(next(keys)), 500),
            Contender(MGET, lambda: client.mget(wanted), 150),
            Contender(HITS, lambda: cached.in_bulk(pks), 50),
            Contender(SQLITE_BULK, lambda: sqlite.in_bulk(pks), 15),
            Contender(POSTGRESQL_BULK, lambda: postgresql.in_bulk(pks), 15),
        ],
        effort,
    )
    return [
        timed("batch", timings, FLOOR),
        timed("batch", timings, MGET, floor=FLOOR),
        timed("batch", timings, HITS, floor=FLOOR, target=Target(10, of="ratio")),
        timed("batch", timings, SQLITE_BULK, floor=FLOOR),
        timed("batch", timings, POSTGRESQL_BULK, floor=FLOOR),
        counted("batch", HITS, round_trips(lambda: cached.in_bulk(pks)), expected=1),
    ]

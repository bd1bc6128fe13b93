"""A row that is near, against what redis-py alone takes to bring the same bytes; one read, and a batch."""

from __future__ import annotations

from itertools import cycle

from django.db import connections

from benchmarks.counting import round_trips
from benchmarks.ground import BATCH, Ground
from benchmarks.measure import Contender, Effort, in_turn
from benchmarks.models import NearKept
from benchmarks.report import Figure, Target, counted, timed
from benchmarks.servers import SQLITE
from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry

FLOOR = "redis-py GET of the same bytes (the floor)"
FOUND = "found near: the bytes, known to be current"
NEAR = "Model.cached.get(pk=…), near"
BATCH_FLOOR = f"redis-py MGET of {BATCH} (the floor)"
IN_BULK = f"Model.cached.in_bulk({BATCH}), near"


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Measure it, over the rows of a batch in turn."""
    pks, cached = ground.batch, NearKept.cached
    come_near(pks)
    names = ground.keys(pks, model=NearKept)
    keys, idents, ours = cycle(names), cycle(map(str, pks)), cycle(pks)
    source = runtime.current().place(registry.for_model(NearKept), connections[SQLITE]).source
    assert source is not None
    assert source.near is not None
    get, mget, find = ground.client.get, ground.client.mget, source.near.find
    timings = in_turn(
        [
            Contender(FLOOR, lambda: get(next(keys)), 500),
            Contender(FOUND, lambda: find(next(idents)), 2000),
            Contender(NEAR, lambda: cached.get(pk=next(ours)), 1000),
            Contender(BATCH_FLOOR, lambda: mget(names), 100),
            Contender(IN_BULK, lambda: cached.in_bulk(pks), 50),
        ],
        effort,
    )
    return [
        timed("near", timings, FLOOR),
        timed("near", timings, FOUND, floor=FLOOR, target=Target(0.08, of="ratio")),
        timed("near", timings, NEAR, floor=FLOOR, target=Target(0.08, of="ratio")),
        timed("near", timings, BATCH_FLOOR),
        timed("near", timings, IN_BULK, floor=BATCH_FLOOR),
        counted("near", NEAR, round_trips(lambda: cached.get(pk=pks[0])), expected=0),
    ]


def come_near(pks: list[int]) -> None:
    """Read rows until all of them are found near: the connection takes some milliseconds."""
    counts = registry.for_model(NearKept).tally.counts
    while True:
        before = counts[Event.NEAR_HIT]
        NearKept.cached.in_bulk(pks)
        if counts[Event.NEAR_HIT] - before == len(pks):
            return

"""Everybody asks for one cold row at once, and its load takes 50 ms: how often is it loaded, how long does who wait?

In one process with 32 threads, and in 8 processes with 4 each, on PostgreSQL. Each look at the database counts, one
that goes past the cache too; the lease outlives the whole, so that one is all there should be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache, partial
from itertools import cycle
from time import perf_counter_ns

from redis import Redis

from benchmarks.crew import Crew, client
from benchmarks.ground import Ground
from benchmarks.measure import Effort
from benchmarks.models import Kept
from benchmarks.report import Figure, amount
from benchmarks.servers import POSTGRESQL
from benchmarks.team import Team
from django_cacheaside import failpoints

THREADS, PROCESSES, THREADS_EACH = 32, 8, 4
LOAD_S = 0.05
LOADS = "benchmarks:loads"
"""The key in Valkey where all processes count."""

Rush = Callable[[int], Sequence[float]]
"""All ask for a row. Returns how long each of them waited, in milliseconds."""


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Measure it: a row a round. Of the loads, the most that a round had."""
    with Team(THREADS) as team:
        measured = _measured(f"1 process × {THREADS} threads", partial(_rush, team), ground, effort)
    with Crew(PROCESSES, ground.where) as crew:

        def in_processes(pk: int) -> list[float]:
            waited = crew.run(rush_here, [(pk,)] * PROCESSES)
            return [each for of_one in waited for each in of_one]

        measured += _measured(f"{PROCESSES} processes × {THREADS_EACH} threads", in_processes, ground, effort)
    return measured


def _measured(who: str, rush: Rush, ground: Ground, effort: Effort) -> list[Figure]:
    loads: list[float] = []
    longest_ms: list[float] = []
    pks = cycle(ground.pks)
    for at in range(effort.rounds + 1):
        pk = next(pks)
        ground.client.delete(LOADS, *ground.keys([pk], POSTGRESQL))
        waited_ms = rush(pk)
        if at > 0:  # in the first one they connect
            loads.append(float(ground.client.get(LOADS) or 0))
            longest_ms.append(max(waited_ms))
    return [
        amount("stampede", f"loads of one row, {who}, at most", [max(loads)], "loads", most=1),
        amount("stampede", f"its longest read, {who}, a load of {1000 * LOAD_S:g} ms", longest_ms, "ms"),
    ]


def rush_here(pk: int) -> list[float]:
    """One process's part."""
    return _rush(_team(), pk)


@cache
def _team() -> Team:
    return Team(THREADS_EACH)


def _rush(team: Team, pk: int) -> list[float]:
    with ExitStack() as armed:
        for name in ("before-load", "before-bypass"):
            armed.enter_context(failpoints.armed(name, partial(_load_slowly, client())))
        return team.run([partial(_read, pk)] * team.size)


def _load_slowly(counter: Redis) -> None:
    counter.incr(LOADS)
    time.sleep(LOAD_S)


def _read(pk: int) -> float:
    start_ns = perf_counter_ns()
    row = Kept.cached.using(POSTGRESQL).get(pk=pk)
    took_ns = perf_counter_ns() - start_ns
    assert row.pk == pk
    return took_ns / 1e6

"""Reads and writes together: 95 to 5, by Zipf, in four threads and in four processes, on PostgreSQL.

Everybody plays the same trace, drawn once from the seed. The floor reads the bytes of a row's entry with redis-py and
saves without us; nobody voids what it reads. All threads and processes share one processor: see Note [One processor].
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache, partial
from itertools import accumulate
from typing import Any

from benchmarks.crew import Crew, client
from benchmarks.ground import ROWS, Ground, bare, entry_keys
from benchmarks.measure import Contender, Effort, in_turn
from benchmarks.models import Bare, Columns, Kept
from benchmarks.report import Figure, Target, amount, timed
from benchmarks.servers import POSTGRESQL, WITHOUT_US
from benchmarks.team import Team
from django_cacheaside.engine.tally import LOOKUPS, SERVED, Event
from django_cacheaside.orm.registry import registry

SIZE = 4
OPERATIONS = 100
"""Of each thread or process, in one run."""

WRITES = 0.05
FLOOR, WITH_US, ORM = "redis-py GET, save() without us (the floor)", "Model.cached.get, save()", "objects.get, save()"
WHOSE = (FLOOR, WITH_US, ORM)

Act = Callable[[int], object]


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Measure it. The ratio's target is for threads; processes are told beside it."""
    operations = effort.times(OPERATIONS)
    assert len(Kept.cached.db_manager(POSTGRESQL).in_bulk(ground.pks)) == ROWS
    with Team(SIZE) as team:

        def in_threads(whose: str) -> object:
            return team.run([partial(play, whose, effort.seed, member, operations) for member in range(SIZE)])

        before = dict(registry.for_model(Kept).tally.counts)
        measured = _measured(f"{SIZE} threads", in_threads, operations, effort, Target(2, of="ratio"))
        counts = {event: count - before[event] for event, count in registry.for_model(Kept).tally.counts.items()}
    hits = [100 * _sum(counts, SERVED) / _sum(counts, LOOKUPS)]
    measured.append(amount("mixed", f"hits among the reads, {SIZE} threads", hits, "%"))
    with Crew(SIZE, ground.where) as crew:

        def in_processes(whose: str) -> object:
            return crew.run(play, [(whose, effort.seed, member, operations) for member in range(SIZE)])

        measured += _measured(f"{SIZE} processes", in_processes, operations, effort, None)
    return measured


def _measured(
    where: str, run: Callable[[str], object], operations: int, effort: Effort, target: Target | None
) -> list[Figure]:
    names = {whose: f"{whose}, {where}" for whose in WHOSE}
    timings = in_turn(
        [Contender(name, partial(run, whose), 1, operations=SIZE * operations) for whose, name in names.items()], effort
    )
    return [
        timed("mixed", timings, names[FLOOR], is_done_by_others=True),
        timed("mixed", timings, names[WITH_US], floor=names[FLOOR], target=target, is_done_by_others=True),
        timed("mixed", timings, names[ORM], floor=names[FLOOR], is_done_by_others=True),
    ]


def _sum(counts: dict[Event, int], events: tuple[Event, ...]) -> int:
    return sum(counts[event] for event in events)


def play(whose: str, seed: int, member: int, operations: int) -> None:
    """One member's part, from its first operation to its last."""
    read, write = _reader(whose), _writer(whose, member)
    for pk, is_write in _trace(seed, member, operations):
        if is_write:
            write(pk)
        else:
            read(pk)


@cache
def _trace(seed: int, member: int, operations: int) -> list[tuple[int, bool]]:
    """Which rows, and whether they are written. The same rows are popular with all members."""
    popular = random.Random(seed).sample(range(1, ROWS + 1), ROWS)
    rng = random.Random(f"{seed} of member {member}")
    weights = list(accumulate(1 / rank for rank in range(1, ROWS + 1)))
    return [(pk, rng.random() < WRITES) for pk in rng.choices(popular, cum_weights=weights, k=operations)]


@cache
def _reader(whose: str) -> Act:
    if whose == FLOOR:
        keys = dict(zip(range(1, ROWS + 1), entry_keys(Kept, range(1, ROWS + 1), POSTGRESQL), strict=True))
        get = client().get
        return lambda pk: get(keys[pk])
    manager = Kept.cached.db_manager(POSTGRESQL) if whose == WITH_US else bare(Bare, WITHOUT_US[POSTGRESQL])
    return lambda pk: manager.get(pk=pk)


@cache
def _writer(whose: str, _member: int) -> Act:
    """Saves one field of a row that this member has read before: no two members share an instance."""
    model, alias = (Kept, POSTGRESQL) if whose == WITH_US else (Bare, WITHOUT_US[POSTGRESQL])
    rows: dict[Any, Columns] = bare(model, alias).in_bulk()

    def write(pk: int) -> None:
        row = rows[pk]
        row.stock = (row.stock + 1) % 10_000
        row.save(update_fields=["stock"])

    return write

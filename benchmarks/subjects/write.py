"""A write with us against the same write without us: the same SQL, in two databases of the same server.

Without us means the model without the mixin, on a connection from which our wrappers were taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count, cycle

from django.db import transaction

from benchmarks.counting import demand_same_statements, round_trips
from benchmarks.ground import BATCH, Ground, bare
from benchmarks.measure import Contender, Effort, in_turn
from benchmarks.models import Bare, Columns, Kept
from benchmarks.report import Figure, Target, counted, timed
from benchmarks.servers import POSTGRESQL, SQLITE, WITHOUT_US

NAMES = {SQLITE: "SQLite", POSTGRESQL: "PostgreSQL"}
SAVE, UPDATE = "save() in autocommit", f"update() of {BATCH} rows"
TIMES = {SAVE: 40, "save() in atomic": 40, "ten save() in atomic": 8, UPDATE: 10}
TARGETS = {
    (SAVE, SQLITE): Target(2.0, of="ratio"),
    (SAVE, POSTGRESQL): Target(1.3, of="ratio"),
    (UPDATE, SQLITE): Target(1.6, of="ratio"),
    (UPDATE, POSTGRESQL): Target(1.6, of="ratio"),
}
ROUND_TRIPS = 2
"""Intents before COMMIT, release after it: per transaction, however much it has written."""

Write = Callable[[], object]


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Measure it, on each database against itself."""
    return [*_on(ground, effort, SQLITE), *_on(ground, effort, POSTGRESQL)]


def _on(ground: Ground, effort: Effort, alias: str) -> list[Figure]:
    with_us, without_us = _writes(ground, Kept, alias), _writes(ground, Bare, WITHOUT_US[alias])
    contenders: list[Contender] = []
    trips: dict[str, list[str]] = {}
    for write, times in TIMES.items():
        trips[write] = round_trips(with_us[write])
        assert not round_trips(without_us[write]), "our wrappers are still on the connection that is to be without us"
        demand_same_statements({(Bare, WITHOUT_US[alias]): without_us[write], (Kept, alias): with_us[write]})
        contenders.append(Contender(_named(write, alias, "without us"), without_us[write], times))
        contenders.append(Contender(_named(write, alias, "with us"), with_us[write], times))
    timings = in_turn(contenders, effort)
    found: list[Figure] = []
    for write in TIMES:
        ours, alone = _named(write, alias, "with us"), _named(write, alias, "without us")
        found.append(timed("write", timings, alone))
        found.append(timed("write", timings, ours, floor=alone, target=TARGETS.get((write, alias))))
        found.append(counted("write", ours, trips[write], expected=ROUND_TRIPS))
    return found


def _named(write: str, alias: str, whose: str) -> str:
    return f"{write}, {NAMES[alias]}, {whose}"


def _writes(ground: Ground, model: type[Columns], alias: str) -> Mapping[str, Write]:
    """Each kind of write, in the order of ``TIMES``; every one of them changes what it writes."""
    manager = bare(model, alias)
    rows, stock = cycle(list(manager.filter(pk__in=ground.batch).order_by("pk"))), count()

    def save() -> None:
        row = next(rows)
        row.stock = next(stock) % 10_000
        row.save()

    def save_in_atomic() -> None:
        with transaction.atomic(using=alias):
            save()

    def save_ten_in_atomic() -> None:
        with transaction.atomic(using=alias):
            for _ in range(10):
                save()

    def update() -> None:
        manager.filter(pk__in=ground.batch).update(stock=next(stock) % 10_000)

    return dict(zip(TIMES, (save, save_in_atomic, save_ten_in_atomic, update), strict=True))

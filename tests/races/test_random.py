"""A catch-all: random readers and writers, real threads, no script. What it finds deserves a race of its own."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

import pytest
from django.db import transaction
from django.db.models import F

from django_cacheaside.engine.tally import Event
from django_cacheaside.orm.registry import registry
from tests.app.models import Product
from tests.races import mutants
from tests.races.commits import RollbackError
from tests.races.play import server, sql, version, versions
from tests.races.stage import Stage

ROWS = 6
READERS = 4
WRITERS = 3
DURATION_S = 3.0
SEED = int(os.environ.get("CACHEASIDE_TEST_SEED", "1"))


@dataclass
class History:
    """What is committed for certain. A row's version only grows; a deleted row's next one goes on from there."""

    pks: list[int]
    floors: dict[int, int] = field(default_factory=dict)
    missing_until: dict[int, int] = field(default_factory=dict)
    turns: dict[int, threading.Lock] = field(default_factory=dict)
    reads: int = 0
    writes: int = 0
    is_over: bool = False

    def floor(self, pk: int) -> int:
        """The version that a read which begins now must reach."""
        return self.floors[pk]


def check(history: History, pk: int, floor: int, seen: int | None) -> None:
    """A row is no older than the floor; none is seen only if a DELETE was under way or newer than the floor."""
    if seen is None:
        assert history.missing_until.get(pk, -1) >= floor, f"row {pk} was inserted before the read began, at {floor}"
    else:
        assert seen >= floor, f"row {pk} is at {floor}, a reader saw {seen}"


def read(history: History, rng: random.Random) -> None:
    """One reader's life."""
    while not history.is_over:
        pks = rng.sample(history.pks, rng.choice([1, 1, 1, 3]))
        style = rng.random()
        if style < 0.15:
            with transaction.atomic():
                floors = [history.floor(pk) for pk in pks]
                seen = versions(*pks)
        elif len(pks) == 1:
            floors = [history.floor(pks[0])]
            seen = [version(pks[0])]
        else:
            floors = [history.floor(pk) for pk in pks]
            seen = versions(*pks)
        for pk, floor, one in zip(pks, floors, seen, strict=True):
            check(history, pk, floor, one)
        history.reads += 1


def write(history: History, rng: random.Random) -> None:
    """One writer's life. Writers of one row take turns, so that the order of COMMITs is known; readers never wait."""
    while not history.is_over:
        pks = sorted(rng.sample(history.pks, rng.choice([1, 1, 2])))
        for pk in pks:
            history.turns[pk].acquire()
        try:
            act = rng.choice(ACTS)
            targets = {pk: history.floors[pk] + 1 for pk in pks}
            if act is delete:  # a reader may see that there is none as soon as the DELETE is under way
                history.missing_until.update(targets)
            try:
                act(targets)
            except RollbackError:
                continue
            history.floors.update(targets)
            if act is delete:
                again = {pk: target + 1 for pk, target in targets.items()}
                insert(again)
                history.floors.update(again)
            history.writes += 1
        finally:
            for pk in pks:
                history.turns[pk].release()


def save(targets: dict[int, int]) -> None:
    for pk, target in targets.items():
        row = Product.objects.get(pk=pk)
        row.version = target
        row.save()


def update(targets: dict[int, int]) -> None:
    Product.objects.filter(pk__in=targets).update(version=F("version") + 1)


def update_unseen(targets: dict[int, int]) -> None:
    sql(f"UPDATE app_product SET version = version + 1 WHERE id + 0 IN ({', '.join(map(str, targets))})")


def update_in_atomic(targets: dict[int, int]) -> None:
    with transaction.atomic():
        for pk in targets:
            assert version(pk) == targets[pk] - 1
            Product.objects.filter(pk=pk).update(version=targets[pk])
            assert version(pk) == targets[pk]


def update_after_a_savepoint(targets: dict[int, int]) -> None:
    with transaction.atomic():
        try:
            with transaction.atomic():
                update(dict.fromkeys(targets, -1))
                raise RollbackError
        except RollbackError:
            pass
        update(targets)


def roll_back(targets: dict[int, int]) -> None:
    with transaction.atomic():
        update(targets)
        assert versions(*targets) == list(targets.values())
        raise RollbackError


def raw(targets: dict[int, int]) -> None:
    sql("BEGIN")
    update(targets)
    sql("COMMIT")


def delete(targets: dict[int, int]) -> None:
    Product.objects.filter(pk__in=targets).delete()


def insert(targets: dict[int, int]) -> None:
    Product.objects.bulk_create([Product(pk=pk, version=target) for pk, target in targets.items()])


ACTS: list[Callable[[dict[int, int]], None]] = [
    save,
    update,
    update_unseen,
    update_in_atomic,
    update_after_a_savepoint,
    roll_back,
    raw,
    delete,
]

EVICT = """
if redis.call('TYPE', KEYS[1]).ok == 'hash' then return redis.call('DEL', KEYS[1]) end
local raw = redis.call('GET', KEYS[1])
if raw and string.sub(raw, 1, 2) ~= '\\202W' then return redis.call('DEL', KEYS[1]) end
return 0
"""


def evict(history: History, rng: random.Random) -> None:
    """The server loses whatever it likes, except intents: those are the promise's own row in the table."""
    with server() as client:
        evicting = client.register_script(EVICT)
        while not history.is_over:
            key = client.randomkey()
            if key is not None:
                evicting(keys=[key])
            threading.Event().wait(rng.uniform(0.001, 0.01))


def play(stage: Stage, *, at_most_s: float = DURATION_S) -> History:
    """All of them for so long; ends at the first old row."""
    history = History([Product.objects.create().pk for _ in range(ROWS)])
    history.floors = dict.fromkeys(history.pks, 0)
    history.turns = {pk: threading.Lock() for pk in history.pks}
    lives = [read] * READERS + [write] * WRITERS + [evict]

    def live(life: Callable[[History, random.Random], None], seed: int) -> None:
        try:
            life(history, random.Random(seed))
        except BaseException:
            history.is_over = True
            raise

    actors = [stage.begin(lambda at=at, life=life: live(life, SEED * 100 + at)) for at, life in enumerate(lives)]
    ends_s = monotonic() + at_most_s
    over = threading.Event()
    while monotonic() < ends_s and not history.is_over:
        over.wait(0.05)
    history.is_over = True
    for actor in actors:
        actor.finish()
    return history


def test_nobody_reads_an_old_row(stage: Stage) -> None:
    """Hits, fills and refused fills did happen; which ones is the scheduler's business."""
    tally = registry.for_model(Product).tally.counts
    before = dict(tally)
    history = play(stage)
    happened = {event: tally[event] - before[event] for event in Event}
    assert history.reads > 100
    assert history.writes > 20
    for event in (Event.HIT, Event.LOAD, Event.FILL, Event.BYPASS):
        assert happened[event] > 0, event
    for pk in history.pks:
        assert stage.run(lambda pk=pk: version(pk)) == history.floor(pk)


@pytest.mark.parametrize(
    "mutant",
    [mutants.nobody_listens, mutants.fill_ignores_lease, mutants.transactions_unseen],
    ids=lambda mutant: mutant.__name__,
)
def test_without_its_guards_somebody_does(mutant: Callable[[], object], stage: Stage) -> None:
    with mutant(), pytest.raises(AssertionError):  # type: ignore[attr-defined]
        play(stage, at_most_s=10 * DURATION_S)

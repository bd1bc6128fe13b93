"""A reader's life: it reads rows in every way until it is stopped. Runs in a process of its own."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

from django_cacheaside.engine.tally import Event
from django_cacheaside.orm.registry import registry
from tests.soak.history import NO_ROW, Read
from tests.soak.models import LANES, MODELS, PKS, SLUGS, by_pk, by_slug, in_lane
from tests.soak.unexpected import said

PAUSE_S = 0.001
"""Between two reads, so that a reader leaves something of the machine to the others."""

Seen = dict[str, int]
"""Subjects and the versions of what was found."""


def one(label: str, rng: random.Random) -> Seen:
    """``get(pk=…)``."""
    model: Any = MODELS[label]
    pk = rng.choice(PKS)
    return {by_pk(label, pk): _version(lambda: model.cached.get(pk=pk), model)}


def batch(label: str, rng: random.Random) -> Seen:
    """``in_bulk`` of some."""
    model: Any = MODELS[label]
    pks = rng.sample(PKS, 4)
    found = model.cached.in_bulk(pks)
    return {by_pk(label, pk): found[pk].version if pk in found else NO_ROW for pk in pks}


def unique(label: str, rng: random.Random) -> Seen:
    """``get(slug=…)``."""
    model: Any = MODELS[label]
    slug = rng.choice(SLUGS)
    return {by_slug(label, slug): _version(lambda: model.cached.get(slug=slug), model)}


def unique_batch(label: str, rng: random.Random) -> Seen:
    """``in_bulk`` by the unique key."""
    model: Any = MODELS[label]
    slugs = rng.sample(SLUGS, 3)
    found = model.cached.in_bulk(slugs, field_name="slug")
    return {by_slug(label, slug): found[slug].version if slug in found else NO_ROW for slug in slugs}


def listing(label: str, rng: random.Random) -> Seen:
    """``filter(lane=…)``: who is in it and who is not."""
    model: Any = MODELS[label]
    lane = rng.choice(LANES)
    found = {row.pk: row.version for row in model.cached.filter(lane=lane)}
    return {in_lane(label, lane, pk): found.get(pk, NO_ROW) for pk in PKS}


def in_transaction(label: str, rng: random.Random) -> Seen:
    """One or many, under READ COMMITTED."""
    with transaction.atomic():
        return rng.choice((one, batch, unique))(label, rng)


def _version(get: Callable[[], Any], model: Any) -> int:
    try:
        return int(get().version)
    except model.DoesNotExist:
        return NO_ROW


WAYS: tuple[Callable[[str, random.Random], Seen], ...] = (one, batch, unique, unique_batch, listing, in_transaction)
LIKELY = (6, 2, 3, 1, 2, 2)


class _Reader(threading.Thread):
    def __init__(self, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.is_stopped = threading.Event()
        self.reads: list[Read] = []
        self.errors: list[str] = []
        self._number = number
        self._rng = random.Random(seed)

    def run(self) -> None:
        labels = list(MODELS)
        while not self.is_stopped.wait(PAUSE_S):
            (way,) = self._rng.choices(WAYS, LIKELY)
            self.read(way, self._rng.choice(labels))
        connections.close_all()

    def read(self, way: Callable[[str, random.Random], Seen], label: str) -> None:
        began_s = time.monotonic()
        try:
            seen = way(label, self._rng)
        except Exception:
            self.errors.append(traceback.format_exc())
            return
        ended_s = time.monotonic()
        self.reads += [
            Read(self._number, began_s, ended_s, subject, version, way.__name__) for subject, version in seen.items()
        ]


_readers: list[_Reader] = []


def begin(number: int, seed: int) -> None:
    """Read on and on."""
    reader = _Reader(number, seed)
    _readers.append(reader)
    reader.start()


def end() -> tuple[list[Read], list[str]]:
    """Stop: what was read, and what went wrong."""
    (reader,) = _readers
    reader.is_stopped.set()
    reader.join()
    return reader.reads, reader.errors


def read_everything(number: int) -> tuple[list[Read], list[str]]:
    """Each subject once, by whoever it is that reads; and what went wrong."""
    last = _Reader(number, seed=0)
    for label in MODELS:
        for way in (_all_rows, _all_slugs, _all_lanes):
            last.read(way, label)
    connections.close_all()
    return last.reads, [*last.errors, *said]


def _all_rows(label: str, rng: random.Random) -> Seen:
    model: Any = MODELS[label]
    return {by_pk(label, pk): _version(lambda: model.cached.get(pk=pk), model) for pk in PKS}  # noqa: B023


def _all_slugs(label: str, rng: random.Random) -> Seen:
    model: Any = MODELS[label]
    return {by_slug(label, slug): _version(lambda: model.cached.get(slug=slug), model) for slug in SLUGS}  # noqa: B023


def _all_lanes(label: str, rng: random.Random) -> Seen:
    model: Any = MODELS[label]
    found = {(lane, row.pk): row.version for lane in LANES for row in model.cached.filter(lane=lane)}
    return {in_lane(label, lane, pk): found.get((lane, pk), NO_ROW) for lane in LANES for pk in PKS}


def hits() -> tuple[int, int]:
    """How many rows this process was served from the cache, and how many it read from the database."""
    counts = [registry.for_model(model).tally.counts for model in MODELS.values()]
    return (
        sum(one[Event.HIT] for one in counts),
        sum(one[Event.LOAD] + one[Event.BYPASS] + one[Event.DATABASE_READ] for one in counts),
    )

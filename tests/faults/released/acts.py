"""What a process of one release is asked to do. Its rows are compared with the database's as it has them itself."""

from __future__ import annotations

import random
from typing import Any

from django.db import connections
from django.db.models import F, QuerySet

from django_cacheaside.engine.schema import REPAIR_S
from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from tests.faults.released.models import Lamp

Read = tuple[dict[str, Any], bool]


def counts() -> dict[Event, int]:
    """What this process has counted so far."""
    return dict(registry.for_model(Lamp).tally.counts)


def read(db: str, pk: int) -> Read:
    """The row, and whether it was a hit. It is the database's own, column by column."""
    before = counts()[Event.HIT]
    row = _columns(Lamp.cached.using(db).get(pk=pk))
    is_hit = counts()[Event.HIT] > before
    expected = _columns(QuerySet(Lamp).using(db).defer(*_excluded()).get(pk=pk))
    assert [(name, repr(value)) for name, value in row.items()] == [(n, repr(v)) for n, v in expected.items()]
    return {name: str(value) for name, value in row.items()}, is_hit


def read_many(db: str, pks: list[int]) -> int:
    """As ``read``, in one batch: how many were hits."""
    before = counts()[Event.HIT]
    rows = {pk: _columns(row) for pk, row in Lamp.cached.using(db).in_bulk(pks).items()}
    hits = counts()[Event.HIT] - before
    assert rows == {pk: _columns(row) for pk, row in QuerySet(Lamp).defer(*_excluded()).using(db).in_bulk(pks).items()}
    return hits


def forget(db: str) -> None:
    """As if it had never met another release; its own record was told a while ago."""
    source = runtime.current().place(registry.for_model(Lamp), connections[db]).source
    assert source is not None
    source.schemas._decoders.clear()
    source.schemas._fits.clear()
    source.schemas._said_at_s -= REPAIR_S


def create(db: str, name: str) -> int:
    return int(
        Lamp.objects.using(db).create(name=name, price=3, size="7x8" if _has_text_size() else (7, 8), weight=1).pk
    )


def update(db: str, pk: int, **values: Any) -> None:
    Lamp.objects.using(db).filter(pk=pk).update(**values)


def read_and_save(db: str, pk: int, name: str) -> None:
    """A full ``save()`` of what the cache gave: all columns that this release has."""
    lamp = Lamp.cached.using(db).get(pk=pk)
    lamp.name = name
    lamp.save()


def names_by_price(db: str, price: int) -> list[str]:
    """By the declared key, where it is served."""
    return sorted(lamp.name for lamp in Lamp.cached.using(db).filter(price=price))


def pk_by_name(db: str, name: str) -> int | None:
    try:
        return int(Lamp.cached.using(db).get(name=name).pk)
    except Lamp.DoesNotExist:
        return None


def play(db: str, pk: int, column: str, others: str | None, rounds: int, seed: int) -> list[str]:
    """Write one's own column, which nobody else writes, and read the row on and on: what was seen that must not be."""
    wrong = []
    chance = random.Random(seed)
    seen = 0
    for written in range(1, rounds + 1):
        if chance.random() < 0.5:
            QuerySet(Lamp).using(db).filter(pk=pk).update(**{column: F(column) + 1})
        else:
            lamp = Lamp.cached.using(db).get(pk=pk)
            setattr(lamp, column, written)
            lamp.save(update_fields=[column])
        for _ in range(chance.randrange(4)):
            lamp = Lamp.cached.using(db).get(pk=pk)
            if getattr(lamp, column) != written:
                wrong.append(f"{column} is {getattr(lamp, column)} after {written} was committed")
            if others is not None:
                if getattr(lamp, others) < seen:
                    wrong.append(f"{others} went back from {seen} to {getattr(lamp, others)}")
                seen = getattr(lamp, others)
            if getattr(lamp, "colour", "grey") != "grey":
                wrong.append(f"colour is {lamp.colour}")
    return wrong


def _columns(lamp: Any) -> dict[str, Any]:
    """In the order of the model, deferred ones left out."""
    return {f.attname: vars(lamp)[f.attname] for f in Lamp._meta.concrete_fields if f.attname in vars(lamp)}


def _excluded() -> frozenset[str]:
    return registry.for_model(Lamp).options.exclude


def _has_text_size() -> bool:
    return type(Lamp._meta.get_field("size")).__name__ == "CharField"

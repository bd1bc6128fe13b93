"""A batch is decoded as one array where all of it is alike, and row by row where one entry is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from django.db import connections

from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.envelope import HEADER_SIZE
from tests.app.models import Product
from tests.orm.costs import Count

ROWS = 5


@pytest.fixture
def pks(db_alias: str, count_round_trips: Count) -> list[int]:  # the counter's warm-up moves the epoch
    """Of rows that are cached."""
    pks = [Product.objects.using(db_alias).create(name=f"row {at}").pk for at in range(ROWS)]
    Product.cached.using(db_alias).in_bulk(pks)
    return pks


def key_of(pk: int, alias: str) -> str:
    return runtime.current().place(registry.for_model(Product), connections[alias]).space.entry(str(pk))


def names(pks: list[int], alias: str) -> list[str]:
    return [row.name for row in Product.cached.using(alias).in_bulk(pks).values()]


def undecodable() -> int:
    return registry.for_model(Product).tally.counts[Event.UNDECODABLE]


NAMES = [f"row {at}" for at in range(ROWS)]


def test_each_row_is_the_one_that_was_asked_for(pks: list[int], db_alias: str, count_round_trips: Count) -> None:
    with count_round_trips() as costs:
        found = Product.cached.using(db_alias).in_bulk(pks[::-1])
    assert (costs.round_trips, costs.sql) == (1, [])
    assert {pk: row.name for pk, row in found.items()} == dict(zip(pks, NAMES, strict=True))
    assert list(found) == pks[::-1]


def test_a_row_that_is_missed_does_not_spoil_the_others(
    pks: list[int], db_alias: str, client: redis.Redis, count_round_trips: Count
) -> None:
    client.delete(key_of(pks[2], db_alias))
    with count_round_trips() as costs:
        assert names(pks, db_alias) == NAMES
    assert (costs.round_trips, costs.selects) == (3, 1)


def swap(client: redis.Redis, one: str, other: str) -> None:
    its, others = client.mget(one, other)
    client.mset({one: others, other: its})


def lengthen(client: redis.Redis, one: str, _: str) -> None:
    client.append(one, b"\xc0")


def shorten(client: redis.Redis, one: str, _: str) -> None:
    client.set(one, client.get(one)[:-1])


def move_a_byte(client: redis.Redis, one: str, other: str) -> None:
    """Put together they are as long as before."""
    its, others = client.mget(one, other)
    client.mset({one: its[:-1], other: others[: HEADER_SIZE + 8] + its[-1:] + others[HEADER_SIZE + 8 :]})


@pytest.mark.parametrize("spoil", [swap, lengthen, shorten, move_a_byte])
def test_bytes_that_are_not_the_rows_are_a_miss(
    pks: list[int], db_alias: str, client: redis.Redis, spoil: Callable[[redis.Redis, str, str], None]
) -> None:
    before = undecodable()
    spoil(client, key_of(pks[1], db_alias), key_of(pks[2], db_alias))
    assert names(pks, db_alias) == NAMES
    assert undecodable() - before in (1, 2)
    assert names(pks, db_alias) == NAMES
    assert undecodable() - before in (1, 2), "filled over"

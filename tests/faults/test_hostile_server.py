"""A server whose keys are all spoilt at once, or exchanged with each other: loads, never a wrong row, and then hits."""

from __future__ import annotations

import random
from typing import Any

import pytest
import redis
from django.db import connection

from django_cacheaside.orm import runtime
from tests.app.keyed import Gadget, Section
from tests.app.models import Product
from tests.faults.test_hostile_bytes import SPOILS, Spoil, client  # noqa: F401  a fixture

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("commits")]


class Shop:
    """Rows that are read in every way, and what the database says of them."""

    def __init__(self) -> None:
        sections = [Section.objects.create() for _ in range(2)]
        for number in range(4):
            Gadget.objects.create(sku=f"{number}", slug=f"slug {number}", section=sections[number % 2], rank=number)
        self.products = [Product.objects.create(name=f"{number}", price=number).pk for number in range(4)]
        self.sections = [section.pk for section in sections]

    def read(self, gadgets: Any, products: Any) -> list[Any]:
        """Each way once; missing rows too."""
        return [
            *((one.pk, one.name, one.price) for one in products.in_bulk([*self.products, -5]).values()),
            *[[one.pk for one in products.filter(pk=pk)] for pk in (*self.products, -5)],
            *[[(one.pk, one.sku) for one in gadgets.filter(slug=f"slug {number}")] for number in range(6)],
            *[sorted((one.pk, one.slug) for one in gadgets.filter(section=pk)) for pk in (*self.sections, -5)],
            *[[one.pk for one in gadgets.filter(tenant=1, sku=f"{number}")] for number in range(6)],
        ]

    def in_cache(self) -> list[Any]:
        return self.read(Gadget.cached, Product.cached)

    def in_database(self) -> list[Any]:
        return self.read(Gadget.objects, Product.objects)


@pytest.fixture
def shop() -> Shop:
    shop = Shop()
    for _ in range(3):
        assert shop.in_cache() == shop.in_database()
    return shop


def keys_of(client: redis.Redis) -> list[bytes]:  # noqa: F811
    """All there are: entries, leases, epochs, records, of rows and of declared keys."""
    return sorted(client.scan_iter(count=10_000))


def assert_recovers(shop: Shop) -> None:
    """At once right, and soon served again."""
    from django.test.utils import CaptureQueriesContext

    for _ in range(2):
        assert shop.in_cache() == shop.in_database()
    runtime.reset()  # whatever this process had found out about the records of others
    for _ in range(3):
        assert shop.in_cache() == shop.in_database()
    with CaptureQueriesContext(connection) as queries:
        shop.in_cache()
    assert len(queries) == 0


@pytest.mark.parametrize("spoil", SPOILS)
def test_all_keys_spoilt_at_once(client: redis.Redis, spoil: Spoil, shop: Shop) -> None:  # noqa: F811
    for key in keys_of(client):
        entry = client.get(key) if client.type(key) == b"string" else b"\xcaV" + bytes(40)
        assert isinstance(entry, bytes)
        spoil(client, key, entry)  # type: ignore[arg-type]
    assert_recovers(shop)


@pytest.mark.parametrize("seed", range(12))
def test_values_exchanged_between_keys(client: redis.Redis, seed: int, shop: Shop) -> None:  # noqa: F811
    """Also between kinds: an epoch under an entry, an entry under a lease, a listing's under another one's.

    Not the knowledge that a row is missing: it names no row, so that under another key it would be believed.
    """
    draw = random.Random(seed)
    keys = [key for key in keys_of(client) if client.type(key) == b"string"]
    values = [client.get(key) for key in keys]
    exchanged = [at for at, value in enumerate(values) if value is not None and value[:2] != b"\xcaN"]
    shuffled = draw.sample(exchanged, len(exchanged))
    for at, other in zip(exchanged, shuffled, strict=True):
        client.set(keys[at], values[other], px=60_000)  # type: ignore[arg-type]
    assert_recovers(shop)


@pytest.mark.parametrize("seed", range(6))
def test_random_bytes_under_every_key(client: redis.Redis, seed: int, shop: Shop) -> None:  # noqa: F811
    draw = random.Random(seed)
    for key in keys_of(client):
        client.delete(key)
        client.set(key, draw.randbytes(draw.choice((0, 1, 2, 10, 18, 26, 27, 60, 5000))), px=60_000)
    assert_recovers(shop)


def test_every_key_lost_one_at_a_time(client: redis.Redis, shop: Shop) -> None:  # noqa: F811
    for key in keys_of(client):
        client.delete(key)
        assert shop.in_cache() == shop.in_database()
    assert_recovers(shop)

"""Bytes under our keys that are not ours: a counted miss, replaced; never a wrong row, never an error."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator

import pytest
import redis
from django.db import connection

from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from tests.app.models import Product
from tests.servers import VALKEY_URL

pytestmark = pytest.mark.usefixtures("commits")

Spoil = Callable[[redis.Redis, str, bytes], object]


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(os.environ[VALKEY_URL]) as client:
        yield client


def key_of(pk: int) -> str:
    return runtime.current().place(registry.for_model(Product), connection).space.entry(str(pk))


def epoch_key() -> str:
    return runtime.current().place(registry.for_model(Product), connection).space.epoch


def put(value: Callable[[bytes], bytes]) -> Spoil:
    return lambda client, key, entry: client.set(key, value(entry), px=60_000)


def list_instead(client: redis.Redis, key: str, entry: bytes) -> None:
    client.delete(key)
    client.rpush(key, entry)
    client.pexpire(key, 60_000)


def hash_instead(client: redis.Redis, key: str, entry: bytes) -> None:
    client.delete(key)
    client.hset(key, "a", entry)
    client.pexpire(key, 60_000)


SPOILS = [
    pytest.param(put(lambda entry: b""), id="empty"),
    pytest.param(put(lambda entry: b"\x00\xff" * 50), id="garbage"),
    pytest.param(put(lambda entry: entry[:1]), id="one byte"),
    pytest.param(put(lambda entry: entry[:12]), id="half a header"),
    pytest.param(put(lambda entry: entry[:18]), id="a header alone"),
    pytest.param(put(lambda entry: entry[:-1]), id="the last byte missing"),
    pytest.param(put(lambda entry: entry + b"\x00"), id="a byte too many"),
    pytest.param(put(lambda entry: entry[:18] + bytes(8) + entry[26:]), id="another schema"),
    pytest.param(put(lambda entry: entry[:26] + b"\x93\x01\x02\x03"), id="another row's shape"),
    pytest.param(put(lambda entry: entry[:2] + bytes(8) + entry[10:]), id="another epoch"),
    pytest.param(put(lambda entry: pickle.dumps({"pk": 1})), id="a pickle"),
    pytest.param(put(lambda entry: b'{"pk": 1}'), id="another program's JSON"),
    pytest.param(put(lambda entry: entry[:26] + b"\xff" * 1_000_000), id="huge"),
    pytest.param(list_instead, id="a list"),
    pytest.param(hash_instead, id="a hash"),
]


class TestEntry:
    @pytest.mark.parametrize("spoil", SPOILS)
    def test_is_a_miss_and_replaced(self, client: redis.Redis, spoil: Spoil) -> None:
        product = Product.objects.create(name="lamp", price=7)
        assert Product.cached.get(pk=product.pk).price == 7
        entry = client.get(key_of(product.pk))
        assert isinstance(entry, bytes)
        spoil(client, key_of(product.pk), entry)
        counts = dict(registry.for_model(Product).tally.counts)
        served = Product.cached.get(pk=product.pk)
        assert (served.pk, served.name, served.price) == (product.pk, "lamp", 7)
        after = registry.for_model(Product).tally.counts
        assert after[Event.MISS] == counts[Event.MISS] + 1
        assert after[Event.FILL] == counts[Event.FILL] + 1
        assert Product.cached.get(pk=product.pk).price == 7
        assert after[Event.HIT] == counts[Event.HIT] + 1

    @pytest.mark.parametrize("spoil", SPOILS)
    def test_of_a_batch_is_a_miss_of_its_row_alone(self, client: redis.Redis, spoil: Spoil) -> None:
        products = Product.objects.bulk_create([Product(name=f"{n}", price=n) for n in range(5)])
        pks = [product.pk for product in products]
        Product.cached.in_bulk(pks)
        entry = client.get(key_of(pks[2]))
        assert isinstance(entry, bytes)
        spoil(client, key_of(pks[2]), entry)
        counts = dict(registry.for_model(Product).tally.counts)
        assert [one.price for one in Product.cached.in_bulk(pks).values()] == [0, 1, 2, 3, 4]
        assert registry.for_model(Product).tally.counts[Event.HIT] == counts[Event.HIT] + 4

    def test_swapped_with_another_row_is_refused(self, client: redis.Redis) -> None:
        first, second = (Product.objects.create(name=name) for name in ("first", "second"))
        Product.cached.in_bulk([first.pk, second.pk])
        mine = client.get(key_of(first.pk))
        assert isinstance(mine, bytes)
        client.set(key_of(second.pk), mine, px=60_000)
        assert Product.cached.get(pk=second.pk).name == "second"
        assert Product.cached.in_bulk([first.pk, second.pk])[second.pk].name == "second"


class TestEpoch:
    @pytest.mark.parametrize("value", [b"", b"garbage", b"\xcaG", b"\xcaG" + bytes(16), b"\xcaW", b"\xcaW" + bytes(21)])
    def test_of_another_shape_makes_all_entries_misses(self, client: redis.Redis, value: bytes) -> None:
        product = Product.objects.create(name="lamp")
        Product.cached.get(pk=product.pk)
        client.set(epoch_key(), value, px=60_000)
        assert Product.cached.get(pk=product.pk).name == "lamp"
        hits = registry.for_model(Product).tally.counts[Event.HIT]
        assert Product.cached.get(pk=product.pk).name == "lamp"
        assert registry.for_model(Product).tally.counts[Event.HIT] == hits + 1

    def test_of_another_type_makes_all_entries_misses(self, client: redis.Redis) -> None:
        product = Product.objects.create(name="lamp")
        Product.cached.get(pk=product.pk)
        list_instead(client, epoch_key(), b"x")
        assert Product.cached.get(pk=product.pk).name == "lamp"

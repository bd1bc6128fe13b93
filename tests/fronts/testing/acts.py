"""What the tests of ``django_cacheaside.testing`` do, and how they run."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from django_cacheaside.testing import (
    assert_cached,
    assert_not_cached,
    assert_round_trips,
)
from tests.app.models import Product

DATABASES = ["default", "sqlite"]
in_transaction = pytest.mark.django_db(databases=DATABASES)
with_commits = pytest.mark.django_db(transaction=True, databases=DATABASES)


@contextmanager
def assert_selects(alias: str, expected: int) -> Iterator[None]:
    with CaptureQueriesContext(connections[alias]) as captured:
        yield
    assert sum(query["sql"].startswith("SELECT") for query in captured) == expected, list(captured)


def read(row: Product) -> Product:
    return Product.cached.using(row._state.db).get(pk=row.pk)


def update(row: Product, price: int) -> None:
    Product.objects.using(row._state.db).filter(pk=row.pk).update(price=price)


def run_case(case: type[unittest.TestCase], blocker: Any) -> unittest.TestResult:
    """Run a ``TestCase`` as Django's runner does, outside every transaction of pytest-django's."""
    result = unittest.TestResult()
    with blocker.unblock():
        unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.wasSuccessful(), [trace for _, trace in result.errors + result.failures]
    return result


def act_as_in_production(alias: str) -> None:
    """One test body for every kind of test: what is filled, served and dropped, and for what."""
    lamp = Product.objects.using(alias).create(name="lamp", price=10)
    with assert_round_trips(3), assert_selects(alias, 1):  # look, lease, SELECT, fill
        assert read(lamp).price == 10
    assert_cached(lamp)
    with assert_round_trips(1), assert_selects(alias, 0):  # a hit
        assert read(lamp).price == 10
    with assert_round_trips(2):  # intent, release
        update(lamp, 8)
    assert_not_cached(lamp)
    assert read(lamp).price == 8
    with assert_round_trips(2), transaction.atomic(using=alias):
        lamp.price = 6
        lamp.save()
        with assert_round_trips(0):  # the row that the transaction has written: its own business
            assert read(lamp).price == 6
        assert_cached(lamp)  # as it was: nothing is committed
    assert_not_cached(lamp)
    assert read(lamp).price == 6
    pk = lamp.pk
    with assert_round_trips(2):
        lamp.delete()
    assert_not_cached(Product, pk, using=alias)
    with pytest.raises(Product.DoesNotExist):
        Product.cached.using(alias).get(pk=pk)


@contextmanager
def rolled_back(alias: str) -> Iterator[None]:
    """A block that raises."""
    with suppress(KeyError), transaction.atomic(using=alias):
        yield
        raise KeyError


def kept_entry(row: Product) -> list[tuple[bytes, bytes, int]]:
    """Row and epoch as they stand on the server: key, bytes, milliseconds to live."""
    place = runtime.current().place(registry.for_model(Product), connections[row._state.db])
    with server() as client:
        keys = [place.space.epoch, place.space.entry(str(row.pk))]
        return [(key, client.get(key), client.pttl(key)) for key in keys]


def server() -> redis.Redis:
    return redis.Redis.from_url(settings.CACHES["default"]["LOCATION"])

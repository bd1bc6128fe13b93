"""A writer killed by SIGKILL at each step of its commit, on each database: readers see what it holds, then and after.

``test_killed`` has others read meanwhile, and waits until the dead writer's intents have run out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis
from django.db import connections
from django.db.models import F

from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from tests.app.models import Product
from tests.faults import parts
from tests.faults.nursery import Nursery, Part
from tests.servers import VALKEY_URL

WRITES = ["in atomic", "in autocommit", "of unknown rows"]
POINTS = [
    pytest.param("before-intent", 0, id="before the intent"),
    pytest.param("after-intent", 0, id="between intent and COMMIT"),
    pytest.param("after-commit", 1, id="between COMMIT and release"),
    pytest.param("after-release", 1, id="after the release"),
]


@pytest.fixture
def writer(nursery: Nursery, commits: None) -> Iterator[Part]:
    """A process of its own."""
    part = nursery.fork()
    yield part
    part.close()


@pytest.mark.parametrize("alias", ["default", "sqlite"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(("point", "committed"), POINTS)
def test_is_no_reason_to_read_an_old_row(writer: Part, alias: str, write: str, point: str, committed: int) -> None:
    """Before its intent runs out readers go to the database, and when it has run out the row is cached again."""
    product = Product.objects.using(alias).create(name="lamp", version=0)
    cached = Product.cached.using(alias)
    assert cached.get(pk=product.pk).version == 0
    writer.begin(parts.write, "Product", product.pk, 1, write, alias, hold_at=[point])
    writer.wait_held()
    writer.kill()
    assert Product.objects.using(alias).get(pk=product.pk).version == committed
    assert {cached.get(pk=product.pk).version for _ in range(100)} == {committed}
    assert cached.in_bulk([product.pk])[product.pk].version == committed

    space = runtime.current().place(registry.for_model(Product), connections[alias]).space
    with redis.Redis.from_url(os.environ[VALKEY_URL]) as client:
        for key in (space.entry(str(product.pk)), space.epoch):
            if (client.get(key) or b"").startswith(b"\xcaW"):  # the deadline of a dead writer's intent has come
                client.delete(key)
    assert {cached.get(pk=product.pk).version for _ in range(3)} == {committed}
    Product.objects.using(alias).filter(pk=product.pk).update(version=F("version") + 1)
    assert cached.get(pk=product.pk).version == committed + 1

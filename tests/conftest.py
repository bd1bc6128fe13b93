"""The databases of all tests, and what holds after every module of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis
from django.db import connections
from django.test.utils import setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker

from tests.emptying import empty
from tests.servers import VALKEY_URL


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Every database. pytest-django's own makes those that a mark names, and marked tests empty them one by one."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False)
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@pytest.fixture
def commits(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Every database, in autocommit: what is written is there for threads and processes, and gone behind the test.

    In place of ``django_db(transaction=True)``, which takes 0.4 s: it empties all tables, whether they have rows or
    not, and has ``post_migrate`` fill them with what Django's apps want there.
    """
    with django_db_blocker.unblock():
        try:
            yield
        finally:
            for alias in connections:
                empty(alias)


@pytest.fixture(scope="module", autouse=True)
def every_key_has_a_ttl() -> Iterator[None]:
    """Nothing of ours stays in the server for ever."""
    yield
    with redis.Redis.from_url(os.environ[VALKEY_URL]) as client:
        keys = list(client.scan_iter(count=10_000))
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.pttl(key)
        for_ever = [key for key, ttl_ms in zip(keys, pipeline.execute(), strict=True) if ttl_ms == -1]
    assert for_ever == []

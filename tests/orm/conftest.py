"""Databases that stay open for a whole module: its tests use rows of their own, and none empties the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from tests.orm.world import Elsewhere, Server

DATABASES = ("default", "sqlite")


@pytest.fixture(scope="module")
def databases(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Both databases, in autocommit; emptied when the module is through."""
    with django_db_blocker.unblock():
        try:
            yield
        finally:
            for alias in DATABASES:
                call_command("flush", database=alias, interactive=False, verbosity=0)
            connections.close_all()


@pytest.fixture(params=DATABASES)
def db_alias(request: pytest.FixtureRequest, databases: None) -> str:
    """Each database in turn."""
    return request.param


@pytest.fixture(scope="module")
def server(valkey_url: str) -> Iterator[Server]:
    """The Valkey behind the cache, through a client that is not ours."""
    server = Server(valkey_url)
    yield server
    server.close()


@pytest.fixture(scope="module")
def elsewhere(databases: None) -> Iterator[Elsewhere]:
    """A thread with connections of its own."""
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()

"""Databases that stay open for a whole module: its tests use rows of their own, and none empties the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_cacheaside.engine import agreement
from django_cacheaside.orm import runtime
from django_cacheaside.store.pool import Pool
from tests.emptying import empty
from tests.orm import watch
from tests.orm.costs import Costs, Count, commands_of, warm_up
from tests.orm.process import Process
from tests.orm.watch import Check
from tests.orm.world import Elsewhere, Server

DATABASES = tuple(settings.DATABASES)


@pytest.fixture(scope="module")
def databases(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Both databases, in autocommit; emptied when the module is through."""
    with django_db_blocker.unblock():
        try:
            yield
        finally:
            for alias in DATABASES:
                empty(alias)
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


@pytest.fixture(scope="module")
def second_process(databases: None) -> Iterator[Process]:
    """A process that reads what this one writes."""
    process = Process()
    yield process
    process.close()


@pytest.fixture
def check(server: Server, second_process: Process) -> Check:
    """Execute a form of write and see that it keeps the promise."""
    return lambda form, db, mode: watch.check(form, db, mode, server, second_process)


@pytest.fixture(scope="module")
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """Past the package, over one connection."""
    with redis.Redis.from_url(valkey_url, single_connection_client=True) as client:
        yield client


@pytest.fixture
def count_round_trips(monkeypatch: pytest.MonkeyPatch, client: redis.Redis, db_alias: str) -> Count:
    """Round trips as the pool makes them, commands as the server counts them, SQL as Django does.

    Each act is done once before, so that scripts are loaded and connections made.
    """
    current: list[Costs] = []
    monkeypatch.setattr(agreement, "EARLY_S", 3600.0)  # none is due once it has looked, however busy the machine is

    def counted(exchange: Callable[..., Any]) -> Callable[..., Any]:
        def count(self: Pool, what: Any) -> Any:
            for costs in current:
                costs.round_trips += 1
            return exchange(self, what)

        return count

    monkeypatch.setattr(Pool, "call", counted(Pool.call))
    monkeypatch.setattr(Pool, "pipeline", counted(Pool.pipeline))

    @contextmanager
    def count() -> Iterator[Costs]:
        costs = Costs()
        for one in runtime.current().agreements.all():
            one.look()
        before = commands_of(client)
        current.append(costs)
        try:
            with CaptureQueriesContext(connections[db_alias]) as captured:
                yield costs
        finally:
            current.remove(costs)
        costs.commands = commands_of(client) - before - Counter(info=1)  # the last one asked for the counts
        costs.sql = [query["sql"] for query in captured]

    warm_up(db_alias)
    return count

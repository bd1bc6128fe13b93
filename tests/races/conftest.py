"""A stage for each race, and an empty cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from django_cacheaside.orm import runtime
from tests.emptying import empty
from tests.races.play import server
from tests.races.stage import Stage


@pytest.fixture
def stage(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Stage]:
    """An empty server, a closed circuit, no actors, no rows.

    As ``commits``; the races open connections of their own, and all are closed behind them.
    """
    with django_db_blocker.unblock():
        runtime.reset()
        server().flushall()
        try:
            with Stage() as stage:
                yield stage
        finally:
            runtime.reset()
            for alias in connections:
                empty(alias)
            connections.close_all()

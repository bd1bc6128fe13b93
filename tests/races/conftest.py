"""A stage for each race, and an empty cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from django_cacheaside.orm import runtime
from tests.app.keyed import Gadget
from tests.app.models import Bay, Crate, Plain, Product
from tests.races.play import server
from tests.races.stage import Stage


@pytest.fixture
def stage(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Stage]:
    """An empty server, a closed circuit, no actors, no rows.

    Threads need real COMMITs; but ``django_db(transaction=True)`` empties every table of every database behind each
    test, which takes ten times as long as most races.
    """
    with django_db_blocker.unblock():
        runtime.reset()
        server().flushall()
        try:
            with Stage() as empty:
                yield empty
        finally:
            runtime.reset()
            for alias in ("default", "sqlite"):
                for model in (Crate, Bay, Plain, Product, Gadget):
                    model._base_manager.using(alias)._raw_delete(alias)
            connections.close_all()

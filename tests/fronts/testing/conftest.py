"""A row in each database in turn."""

from __future__ import annotations

import pytest

from tests.app.models import Product
from tests.fronts.testing.acts import (
    DATABASES,
)


@pytest.fixture(params=DATABASES)
def alias(request: pytest.FixtureRequest) -> str:
    """Each database in turn."""
    return request.param


@pytest.fixture
def lamp(alias: str) -> Product:
    """A row of the test's transaction, written before any block."""
    return Product.objects.using(alias).create(name="lamp", price=10)

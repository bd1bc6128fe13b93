"""Fixtures for pytest with pytest-django. In ``conftest.py``:

pytest_plugins = ["django_cacheaside.testing.plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_cacheaside.testing.cached import empty_cache
from django_cacheaside.testing.commit_work import commit_work


@pytest.fixture
def cacheaside_commit_work(db: None) -> Iterator[None]:  # noqa: ARG001  its transaction is what is followed
    """The whole test in ``commit_work()``. Begins with an empty cache and leaves nothing in it."""
    with commit_work():
        yield


@pytest.fixture
def cacheaside_empty() -> None:
    """The test begins with an empty cache, as the fixture ``transactional_db`` needs it to count misses."""
    empty_cache()

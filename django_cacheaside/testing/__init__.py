"""For the tests of projects that use the cache: nothing here is imported or runs in production.

from django_cacheaside.testing import assert_cached, assert_round_trips, commit_work

The fixtures for pytest are in ``django_cacheaside.testing.plugin``.
"""

from __future__ import annotations

from django_cacheaside.testing.cached import assert_cached, assert_not_cached, empty_cache
from django_cacheaside.testing.commit_work import commit_work
from django_cacheaside.testing.failpoints import FAILPOINTS, armed
from django_cacheaside.testing.round_trips import assert_round_trips

__all__ = [
    "FAILPOINTS",
    "armed",
    "assert_cached",
    "assert_not_cached",
    "assert_round_trips",
    "commit_work",
    "empty_cache",
]

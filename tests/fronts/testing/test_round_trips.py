"""``assert_round_trips``, seen to fail for more and for fewer."""

from __future__ import annotations

import re
import threading

import pytest
from django.conf import settings
from django.db import connections
from django.test import override_settings

from django_cacheaside.keys import KeySpace
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from django_cacheaside.testing import (
    assert_cached,
    assert_round_trips,
    empty_cache,
)
from example_project.embedded import EmbeddedValkey
from tests.app.models import Product
from tests.fronts.testing.acts import (
    read,
    with_commits,
)


def space_of(lamp: Product) -> KeySpace:
    return runtime.current().place(registry.for_model(Product), connections[lamp._state.db]).space


class TestAssertRoundTrips:
    @with_commits
    def test_fails_for_more_and_lists_them(self, lamp: Product) -> None:
        empty_cache()
        with pytest.raises(AssertionError) as failed, assert_round_trips(1):
            read(lamp)
        said = str(failed.value).splitlines()
        # the first fill of a process tells what its columns are
        told = next(iter(re.findall(rf"SET {re.escape(space_of(lamp).schema(''))}[0-9a-f]+, ", said[3])), "")
        assert said[0] == "3 round trips to the cache server, expected 1:"
        space = space_of(lamp)
        entry, lease = space.entry(str(lamp.pk)), space.lease(str(lamp.pk))
        assert said[1:] == [
            f"  1. MGET {space.epoch} {entry}",
            f"  2. acquire {space.epoch} {entry} {lease}",
            f"  3. {told}fill {space.epoch} {entry} {lease}",
        ]

    @with_commits
    def test_fails_for_fewer(self, lamp: Product) -> None:
        none = r"^0 round trips to the cache server, expected 1:\n  none$"
        with pytest.raises(AssertionError, match=none), assert_round_trips(1):
            pass
        read(lamp)
        with pytest.raises(AssertionError, match=r"^1 round trip to"), assert_round_trips(0):
            read(lamp)

    @with_commits
    def test_shows_some_keys_of_many(self, alias: str) -> None:
        with assert_round_trips(3) as made:
            Product.cached.using(alias).in_bulk(range(10**6, 10**6 + 50))
        assert str(made).splitlines()[0].endswith("… and 45 more")

    @with_commits
    def test_nested_blocks_count_each(self, lamp: Product) -> None:
        read(lamp)
        with assert_round_trips(2):
            read(lamp)
            with assert_round_trips(1):
                read(lamp)

    @with_commits
    def test_does_not_count_other_threads_nor_assertions(self, lamp: Product) -> None:
        def elsewhere() -> None:
            try:
                with assert_round_trips(1):
                    read(lamp)
            finally:
                connections.close_all()

        read(lamp)
        with assert_round_trips(0):
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            assert_cached(lamp)

    @with_commits
    def test_does_not_count_what_a_new_server_must_learn(self, lamp: Product, fresh_valkey: EmbeddedValkey) -> None:
        """Else the first test of a run would fail, whichever that is."""
        caches = {"default": {**settings.CACHES["default"], "LOCATION": fresh_valkey.url}}
        with override_settings(CACHES=caches), assert_round_trips(3):
            read(lamp)

    @with_commits
    def test_refuses_to_count_over_a_change_of_settings(self, lamp: Product) -> None:
        other = override_settings(CACHEASIDE={"TTL": 5})
        with pytest.raises(RuntimeError, match="inside override_settings"), assert_round_trips(0), other:
            read(lamp)

    @with_commits
    def test_lets_through_what_the_block_raises(self) -> None:
        with pytest.raises(KeyError), assert_round_trips(5):
            raise KeyError

    @with_commits
    def test_leaves_the_store_as_it_was(self, lamp: Product) -> None:
        pool = runtime.current().store._pool
        with assert_round_trips(0), assert_round_trips(0):
            assert runtime.current().store._pool is not pool
        assert runtime.current().store._pool is pool

"""``assert_cached`` and ``assert_not_cached``, each seen to fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import settings
from django.db import connections
from django.test import override_settings

from django_cacheaside import conf, invalidate
from django_cacheaside.orm import runtime
from django_cacheaside.orm.databases import identity
from django_cacheaside.testing import (
    armed,
    assert_cached,
    assert_not_cached,
    empty_cache,
)
from example_project.embedded import EmbeddedValkey
from tests.app.models import Plain, Priced, Product
from tests.fronts.testing.acts import (
    in_transaction,
    kept_entry,
    read,
    server,
    with_commits,
)


class TestAssertCached:
    @in_transaction
    def test_fails_without_commit_work_and_says_so(self, lamp: Product) -> None:
        read(lamp)
        with pytest.raises(AssertionError, match=r"is not cached: .*\n.*within commit_work"):
            assert_cached(lamp)

    @with_commits
    def test_names_each_row_that_is_not(self, alias: str) -> None:
        empty_cache()
        rows = [Product.objects.using(alias).create(name=name) for name in "abc"]
        read(rows[1])
        assert_cached(Product, rows[1].pk, str(rows[1].pk), using=alias)
        with pytest.raises(AssertionError) as failed:
            assert_cached(Product, *(row.pk for row in rows), using=alias)
        assert str(failed.value).splitlines() == [
            f"Product {rows[0].pk} is not cached: it has no entry.",
            f"Product {rows[2].pk} is not cached: it has no entry.",
        ]

    @with_commits
    def test_says_what_stands_in_the_rows_place(self, lamp: Product, alias: str) -> None:
        def fails(saying: str) -> None:
            with pytest.raises(AssertionError, match=saying):
                assert_cached(lamp)

        read(lamp)
        (_, (key, value, _)) = kept_entry(lamp)
        with server() as client:
            client.set(key, value[:-4], keepttl=True)
        fails("its entry can't be read")
        assert_not_cached(lamp)
        read(lamp)
        invalidate(Product, using=alias)
        fails("dropped with all of the model")
        with armed("after-intent", lambda: fails("a commit that writes it is open")):
            lamp.save()
        Product.objects.using(alias).all().delete()
        with pytest.raises(Product.DoesNotExist):
            read(lamp)
        fails("cached that there is no such row")
        assert_not_cached(lamp)

    @with_commits
    def test_fails_where_nobody_would_look(self, lamp: Product) -> None:
        read(lamp)
        with override_settings(CACHEASIDE={"ENABLED": False}), pytest.raises(AssertionError, match="ENABLED"):
            assert_cached(lamp)
        read(lamp)
        runtime.current().invalidator.breaker.open("a test")
        with pytest.raises(AssertionError, match="not used for now"):
            assert_cached(lamp)
        runtime.reset()
        read(lamp)
        assert_cached(lamp)

    @with_commits
    def test_fails_where_keys_are_contested(self, alias: str, fresh_valkey: EmbeddedValkey) -> None:
        """Another process makes them differently: nobody is served."""
        caches = {"default": {**settings.CACHES["default"], "LOCATION": fresh_valkey.url}}
        with override_settings(CACHES=caches):
            lamp = Product.objects.using(alias).create(name="lamp")
            read(lamp)
            assert_cached(lamp)
            agreement = runtime.current().agreements.get(identity(connections[alias]))
            assert agreement is not None
            record = agreement._announcements[0].record
            runtime.current().store.announce(record, "other", "another prefix", life_ms=10_000, had="")
            agreement.look()
            with pytest.raises(AssertionError, match="Other processes make the keys"):
                assert_cached(lamp)

    @pytest.mark.parametrize("check", [assert_cached, assert_not_cached])
    def test_refuses_what_names_no_row(self, check: Callable[..., None], django_db_setup: None) -> None:
        with pytest.raises(TypeError, match="No row"):
            check(Product)
        with pytest.raises(TypeError, match="one row"):
            check(Product(pk=1), 2)
        with pytest.raises(TypeError, match="import the class"):
            check("app.product", 1)
        with pytest.raises(ValueError, match="None is no primary key"):
            check(Product())
        with pytest.raises(ValueError, match="kind that is not cached"):
            check(Priced, 1)
        with pytest.raises(LookupError, match="Plain is not a cached model"):
            check(Plain, 1)


class TestAssertNotCached:
    @with_commits
    def test_fails_for_a_row_that_is(self, lamp: Product, alias: str) -> None:
        empty_cache()
        other = Product.objects.using(alias).create(name="other")
        assert_not_cached(Product, lamp.pk, other.pk, using=alias)
        read(lamp)
        with pytest.raises(AssertionError) as failed:
            assert_not_cached(Product, other.pk, lamp.pk, using=alias)
        assert str(failed.value) == f"Product {lamp.pk} is cached."


class TestEmptyCache:
    @with_commits
    def test_drops_what_another_process_has_cached(self, lamp: Product, monkeypatch: pytest.MonkeyPatch) -> None:
        read(lamp)
        monkeypatch.setattr(runtime, "_current", runtime.Runtime(conf.get_settings()))
        assert_cached(lamp)
        monkeypatch.setattr(runtime, "_current", runtime.Runtime(conf.get_settings()))
        empty_cache()
        assert_not_cached(lamp)

    @with_commits
    def test_leaves_everything_else_on_the_server(self, lamp: Product) -> None:
        with server() as client:
            client.set("of somebody else", "1", px=10_000)
            empty_cache()
            assert client.get("of somebody else") == b"1"

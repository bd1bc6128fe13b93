"""Schemas per tenant: one table name, several tables. The namespace tells them apart in keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models.signals import post_migrate
from django.test import override_settings

from django_cacheaside import conf, invalidate
from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import places, runtime
from django_cacheaside.orm.registry import Registration, registry
from tests.app.models import Bay, Product
from tests.orm.world import Server, number

TENANTS = ("alpha", "beta")

pytestmark = pytest.mark.usefixtures("databases")


class Tenancy:
    """What a middleware of tenants keeps: who is served now. Each statement goes to the schema of that name."""

    def __init__(self) -> None:
        self.name: Any = "public"
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        if isinstance(self.name, Exception):
            raise self.name
        return self.name

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        before, self.name = self.name, name
        self._set_schema()
        try:
            yield
        finally:
            self.name = before
            self._set_schema()

    def _set_schema(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', %s, false)", [f"{self.name}, public"])


@pytest.fixture(scope="module")
def schemas(databases: None) -> Iterator[None]:
    """Each tenant's own table of products; bays are everybody's."""
    with connection.cursor() as cursor:
        for tenant in TENANTS:
            cursor.execute(f"CREATE SCHEMA {tenant}")
            cursor.execute(f"CREATE TABLE {tenant}.app_product (LIKE public.app_product INCLUDING ALL)")
    yield
    with connection.cursor() as cursor:
        for tenant in TENANTS:
            cursor.execute(f"DROP SCHEMA {tenant} CASCADE")


@pytest.fixture
def tenancy(schemas: None, server: Server) -> Iterator[Tenancy]:
    tenancy = Tenancy()
    with override_settings(CACHEASIDE={"NAMESPACE": tenancy}):
        server.forget_processes()
        yield tenancy


@pytest.fixture
def pk(tenancy: Tenancy) -> int:
    """Of a row of each tenant, called as the tenant."""
    key = number()
    for tenant in TENANTS:
        with tenancy.of(tenant):
            Product.objects.create(pk=key, name=tenant)
    return key


def name(pk: int) -> str:
    return str(Product.cached.get(pk=pk).name)


def names(tenancy: Tenancy, pk: int) -> list[str]:
    """What each tenant reads, from the cache at the latest."""
    found = []
    for tenant in TENANTS:
        with tenancy.of(tenant):
            name(pk)
            hits = registry.for_model(Product).tally.counts[Event.HIT]
            found.append(name(pk))
            assert registry.for_model(Product).tally.counts[Event.HIT] == hits + 1
    return found


class TestReads:
    def test_tenants_don_t_see_each_other_s_rows(self, tenancy: Tenancy, pk: int) -> None:
        assert names(tenancy, pk) == ["alpha", "beta"]
        for tenant in TENANTS:
            with tenancy.of(tenant):
                assert Product.cached.in_bulk([pk])[pk].name == tenant

    def test_the_namespace_stands_in_the_hash_tag(self, tenancy: Tenancy, pk: int) -> None:
        with tenancy.of("alpha"):
            space = runtime.current().place(registry.for_model(Product), connection).space
        assert space.epoch.startswith("t:1:{alpha/app.product@")

    def test_a_batch_asks_once(self, tenancy: Tenancy, pk: int) -> None:
        asked = tenancy.asked
        Product.cached.in_bulk([pk, pk + 1])
        assert tenancy.asked == asked + 1


class TestWrites:
    @pytest.mark.parametrize(
        "write",
        [
            pytest.param(lambda pk: Product.objects.filter(pk=pk).update(name="new"), id="update"),
            pytest.param(lambda pk: Product(pk=pk, name="new").save(), id="save"),
            pytest.param(lambda pk: Product.objects.filter(name__startswith="b").update(name="new"), id="unknown-rows"),
        ],
    )
    @pytest.mark.parametrize("in_atomic", [True, False], ids=["atomic", "autocommit"])
    def test_of_one_tenant_is_seen_by_it_alone(
        self, tenancy: Tenancy, pk: int, write: Callable[[int], Any], in_atomic: bool
    ) -> None:
        assert names(tenancy, pk) == ["alpha", "beta"]
        with tenancy.of("beta"):
            in_transaction: AbstractContextManager[Any] = transaction.atomic() if in_atomic else override_settings()
            with in_transaction:
                write(pk)
        with tenancy.of("alpha"):
            hits = registry.for_model(Product).tally.counts[Event.HIT]
            assert name(pk) == "alpha"
            assert registry.for_model(Product).tally.counts[Event.HIT] == hits + 1
        assert names(tenancy, pk) == ["alpha", "new"]

    def test_belongs_to_the_tenant_of_its_statement_not_of_the_commit(self, tenancy: Tenancy, pk: int) -> None:
        assert names(tenancy, pk) == ["alpha", "beta"]
        with transaction.atomic():
            with tenancy.of("alpha"):
                Product.objects.filter(pk=pk).update(name="changed")
            with tenancy.of("beta"):
                assert name(pk) == "beta"
        assert tenancy.name == "public"
        assert names(tenancy, pk) == ["changed", "beta"]

    def test_of_a_row_whose_key_the_database_gives(self, tenancy: Tenancy) -> None:
        """Its key is learnt after the statement: it is the statement's namespace that counts."""
        with tenancy.of("alpha"):
            asked = tenancy.asked
            with connection.execute_wrapper(switching(tenancy, "beta")):
                row = Product.objects.bulk_create([Product(name="x")])[0]
            tenancy.name = "alpha"
            assert tenancy.asked > asked
        assert row.pk is not None

    def test_by_hand_too(self, tenancy: Tenancy, pk: int, server: Server) -> None:
        names(tenancy, pk)
        with tenancy.of("alpha"):
            invalidate(Product, pk)
        warm = {parts["ident"] for parts, _ in server.contents() if parts["kind"] == "e"}
        assert names(tenancy, pk) == ["alpha", "beta"], warm


def switching(tenancy: Tenancy, to: str) -> Callable[..., Any]:
    """Somebody else is served as soon as the statement was sent."""

    def execute(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if "INSERT" in str(sql):
            tenancy.name = RuntimeError("nobody is served now")
        return result

    return execute


class TestSharedModels:
    @pytest.fixture
    def shared_bay(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registration]:
        """As ``class CacheAside: shared = True`` says."""
        from dataclasses import replace

        registration = registry.for_model(Bay)
        monkeypatch.setattr(registration, "options", replace(registration.options, shared=True))
        runtime.reset()
        yield registration
        runtime.reset()

    def test_have_one_key_for_all(self, tenancy: Tenancy, shared_bay: Registration) -> None:
        """A write as one tenant is seen by the others."""
        bay = Bay.objects.create()
        for tenant in TENANTS:
            with tenancy.of(tenant):
                assert Bay.cached.get(pk=bay.pk).version == 0
        with tenancy.of("alpha"):
            Bay.objects.filter(pk=bay.pk).update(version=1)
        with tenancy.of("beta"):
            assert Bay.cached.get(pk=bay.pk).version == 1

    def test_ask_nobody(self, tenancy: Tenancy, shared_bay: Registration) -> None:
        asked = tenancy.asked
        bay = Bay.objects.create()
        Bay.cached.get(pk=bay.pk)
        assert tenancy.asked == asked + 1  # an INSERT asks, in case that it writes a tenant's model too


BAD = [
    pytest.param(RuntimeError("no tenant"), "no tenant", id="raises"),
    pytest.param(None, "gave None", id="none"),
    pytest.param("", "gave ''", id="empty"),
    pytest.param(5, "gave 5", id="number"),
    pytest.param("a" * 65, "1 to 64", id="long"),
    pytest.param("a/b", "1 to 64", id="slash"),
    pytest.param("{a}", "1 to 64", id="braces"),
]


class TestBadNamespaces:
    @pytest.mark.parametrize(("bad", "says"), BAD)
    def test_fail_a_read(self, tenancy: Tenancy, pk: int, bad: Any, says: str) -> None:
        tenancy.name = bad
        with pytest.raises(ImproperlyConfigured, match=says):
            Product.cached.get(pk=pk)

    @pytest.mark.parametrize(("bad", "says"), BAD)
    @pytest.mark.parametrize("in_atomic", [True, False], ids=["atomic", "autocommit"])
    def test_fail_a_statement_before_it_runs(
        self, tenancy: Tenancy, pk: int, bad: Any, says: str, in_atomic: bool
    ) -> None:
        """Whose keys are to be voided can't be told, so nothing is written."""
        assert names(tenancy, pk) == ["alpha", "beta"]
        with tenancy.of("alpha"):
            tenancy.name = bad
            if in_atomic:
                with transaction.atomic(), pytest.raises(ImproperlyConfigured, match=says):
                    Product.objects.filter(pk=pk).update(name="new")
            else:
                with pytest.raises(ImproperlyConfigured, match=says):
                    Product.objects.filter(pk=pk).update(name="new")
            tenancy.name = "alpha"
            assert Product.objects.get(pk=pk).name == "alpha"
        assert names(tenancy, pk) == ["alpha", "beta"]

    def test_do_not_concern_what_is_not_cached(self, tenancy: Tenancy) -> None:
        from tests.app.models import Plain

        tenancy.name = None
        Plain.objects.create(name="x")


class TestCommands:
    def test_flush_drops_the_namespace_in_force(self, tenancy: Tenancy, pk: int) -> None:
        names(tenancy, pk)
        with tenancy.of("alpha"):
            call_command("cacheaside", "flush", "app.Product", verbosity=0)
        self.only_beta_hits(tenancy, pk)

    def test_so_does_a_migration(self, tenancy: Tenancy, pk: int) -> None:
        names(tenancy, pk)
        with tenancy.of("alpha"):
            from django.apps import apps

            for _, receive in post_migrate.send_robust(
                sender=apps.get_app_config("app"), app_config=None, using="default", verbosity=0, interactive=False
            ):
                assert not isinstance(receive, ImproperlyConfigured)
        self.only_beta_hits(tenancy, pk)

    def only_beta_hits(self, tenancy: Tenancy, pk: int) -> None:
        for tenant, is_hit in zip(TENANTS, (False, True), strict=True):
            with tenancy.of(tenant):
                hits = registry.for_model(Product).tally.counts[Event.HIT]
                assert name(pk) == tenant
                assert (registry.for_model(Product).tally.counts[Event.HIT] > hits) is is_hit


class TestSettings:
    @pytest.mark.parametrize("namespace", ["alpha", Tenancy, None, "tests.orm.world.name"])
    def test_take(self, namespace: Any) -> None:
        with override_settings(CACHEASIDE={"NAMESPACE": namespace}):
            found = conf.get_settings().NAMESPACE
        assert callable(found) if namespace == "tests.orm.world.name" else found == namespace

    def test_a_text_holds_always(self, pk: int) -> None:
        with override_settings(CACHEASIDE={"NAMESPACE": "beta"}):
            space = runtime.current().place(registry.for_model(Product), connection).space
            assert space.label == "beta/app.product"

    def test_places_are_bounded(self, tenancy: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that serves many tenants keeps what it has made of the latest."""
        monkeypatch.setattr(places, "MOST_PLACES", 3)
        for number_of_tenant in range(5):
            tenancy.name = f"tenant{number_of_tenant}"
            runtime.current().place(registry.for_model(Product), connection)
        used = runtime.current().places._places
        assert [namespace for *_, namespace in used] == ["tenant2", "tenant3", "tenant4"]

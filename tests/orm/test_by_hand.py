"""``invalidate`` and ``disabled``: what a project does by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

import django_cacheaside
from django_cacheaside import disabled, invalidate
from tests.app.keyed import Gadget
from tests.app.models import Plain, Product

Behind = Callable[[str], None]


@pytest.fixture
def warm(db_alias: str) -> list[int]:
    """Two rows, in the cache."""
    made = [Product.objects.using(db_alias).create(name="old") for _ in range(2)]
    pks = [product.pk for product in made]
    Product.cached.using(db_alias).in_bulk(pks)
    return pks


@pytest.fixture
def behind_django(db_alias: str, warm: list[int]) -> Behind:
    """Rename the rows past everything that Django sees, as psql would."""

    def rename(name: str) -> None:
        connection: Any = connections[db_alias]
        quoted = ", ".join(map(str, warm))
        connection.connection.cursor().execute(f"UPDATE app_product SET name = '{name}' WHERE id IN ({quoted})")

    return rename


def names(db_alias: str, pks: list[int]) -> list[str]:
    return [Product.cached.using(db_alias).get(pk=pk).name for pk in pks]


class TestInvalidate:
    def test_an_instance_drops_its_row(self, db_alias: str, warm: list[int], behind_django: Behind) -> None:
        behind_django("new")
        assert names(db_alias, warm) == ["old", "old"]
        invalidate(Product.objects.using(db_alias).get(pk=warm[0]))
        assert names(db_alias, warm) == ["new", "old"]

    def test_primary_keys_drop_their_rows(self, db_alias: str, warm: list[int], behind_django: Behind) -> None:
        behind_django("new")
        invalidate(Product, warm[0], str(warm[1]), using=db_alias)
        assert names(db_alias, warm) == ["new", "new"]

    def test_a_model_drops_all_rows(self, db_alias: str, warm: list[int], behind_django: Behind) -> None:
        behind_django("new")
        invalidate(Product, using=db_alias)
        assert names(db_alias, warm) == ["new", "new"]

    def test_in_a_transaction_waits_for_its_commit(
        self, db_alias: str, warm: list[int], behind_django: Behind, elsewhere: Any
    ) -> None:
        """Dropped now, the old row would be filled again by a reader before COMMIT."""
        with transaction.atomic(using=db_alias):
            behind_django("new")
            invalidate(Product, *warm, using=db_alias)
            assert elsewhere(names, db_alias, warm) == ["old", "old"]
            assert names(db_alias, warm) == ["new", "new"]
        assert elsewhere(names, db_alias, warm) == ["new", "new"]

    def test_needs_no_open_connection(
        self, db_alias: str, warm: list[int], behind_django: Behind, elsewhere: Any
    ) -> None:
        """A process that has not connected yet, such as a command, must not wait for a COMMIT that never comes."""
        behind_django("new")

        def by_another() -> None:
            connections[db_alias].close()
            invalidate(Product, *warm, using=db_alias)

        elsewhere(by_another)
        assert names(db_alias, warm) == ["new", "new"]

    def test_of_a_model_that_is_not_cached_names_those_that_are(self) -> None:
        with pytest.raises(LookupError, match=r"app\.Plain is not a cached model\. Cached models: .*app\.Product"):
            invalidate(Plain)

    def test_of_an_instance_takes_no_primary_keys(self) -> None:
        with pytest.raises(TypeError, match="for several rows"):
            invalidate(Product(pk=1), 2)

    @pytest.mark.parametrize(
        ("what", "said"),
        [
            pytest.param(
                "app.Product", r"the name 'app\.Product': import the class, or ask apps\.get_model", id="name"
            ),
            pytest.param(Product.objects.filter(pk=1), r"a CacheAsideQuerySet: pass Product", id="queryset"),
            pytest.param(Product.cached, r"a CachedManager: pass Product", id="manager"),
            pytest.param([1, 2], r"a list", id="list"),
        ],
    )
    def test_of_neither_a_model_nor_an_instance_says_what_to_pass(self, what: Any, said: str, databases: None) -> None:
        """And asks nobody: a queryset in a message would be evaluated."""
        with (
            CaptureQueriesContext(connections["default"]) as queries,
            pytest.raises(TypeError, match=rf"^invalidate\(Model, pk, …\) takes a model's class, not {said}"),
        ):
            invalidate(what)
        assert list(queries) == []

    def test_drops_the_entries_of_declared_keys_as_well(self, db_alias: str) -> None:
        """Under which values a row is found now is for the database to say; the other rows themselves stay."""
        row, other = (QuerySet(Gadget).using(db_alias).create(sku=f"hand{n}", slug=f"hand{n}") for n in range(2))
        for lookup in ({"slug": other.slug}, {"slug": other.slug}, {"pk": other.pk}):
            Gadget.cached.using(db_alias).get(**lookup)
        invalidate(row)
        for lookup, selects in (({"pk": other.pk}, 0), ({"slug": other.slug}, 1), ({"slug": other.slug}, 0)):
            with CaptureQueriesContext(connections[db_alias]) as queries:
                assert Gadget.cached.using(db_alias).get(**lookup) == other
            assert len(queries) == selects


class TestDisabled:
    def test_reads_the_database(self, db_alias: str, warm: list[int], behind_django: Behind) -> None:
        behind_django("new")
        with disabled():
            assert names(db_alias, warm) == ["new", "new"]
            assert set(Product.cached.using(db_alias).in_bulk(warm)) == set(warm)
        assert names(db_alias, warm) == ["old", "old"]

    def test_still_invalidates(self, db_alias: str, warm: list[int]) -> None:
        with disabled():
            Product.objects.using(db_alias).filter(pk=warm[0]).update(name="new")
        assert names(db_alias, warm) == ["new", "old"]

    def test_ends_with_an_exception(self, db_alias: str, warm: list[int], behind_django: Behind) -> None:
        behind_django("new")
        with pytest.raises(RuntimeError), disabled():
            raise RuntimeError
        assert names(db_alias, warm) == ["old", "old"]

    def test_holds_for_its_own_context_only(
        self, db_alias: str, warm: list[int], behind_django: Behind, elsewhere: Any
    ) -> None:
        behind_django("new")
        with disabled():
            assert elsewhere(names, db_alias, warm) == ["old", "old"]

    def test_reaches_what_a_task_awaits(self, db_alias: str, warm: list[int], behind_django: Behind) -> None:
        behind_django("new")

        async def read() -> list[str]:
            with disabled():
                return await sync_to_async(names)(db_alias, warm)

        assert async_to_sync(read)() == ["new", "new"]


class TestFrontDoor:
    def test_gives_what_it_names(self) -> None:
        assert all(callable(getattr(django_cacheaside, name)) for name in django_cacheaside.__all__)
        assert sorted(django_cacheaside._HOMES) == sorted(django_cacheaside.__all__)

    def test_says_what_it_does_not_have(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'cachedd'"):
            _ = django_cacheaside.cachedd  # type: ignore[attr-defined]

    def test_can_be_imported_without_settings(self) -> None:
        import subprocess
        import sys

        subprocess.run([sys.executable, "-c", "import django_cacheaside as c; c.__version__"], check=True, env={})

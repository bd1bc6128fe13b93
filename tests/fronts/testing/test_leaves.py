"""What a test leaves in the cache of the next one."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from django.conf import settings
from django.db import connections, transaction
from django.test import TestCase, override_settings

from django_cacheaside.orm.connection_state import state_of
from django_cacheaside.testing import (
    assert_cached,
    assert_not_cached,
    commit_work,
)
from tests.app.keyed import Gadget, Section
from tests.app.models import Product
from tests.fronts.testing.acts import (
    DATABASES,
    assert_selects,
    in_transaction,
    read,
    run_case,
    update,
    with_commits,
)


class TestWhatATestLeaves:
    """Nothing: its rows were never committed."""

    @pytest.mark.parametrize("alias", DATABASES)
    @pytest.mark.parametrize("way", ["block", "set-up", "decorator", "around-all"])
    def test_the_next_test_does_not_see_its_rows(
        self, way: str, alias: str, django_db_setup: None, django_db_blocker: Any
    ) -> None:
        pk = 900_001

        class Tests(TestCase):
            databases = {alias}

            def setUp(self) -> None:
                self.stack = ExitStack()
                self.addCleanup(self.stack.close)
                if way == "set-up":
                    self.stack.enter_context(commit_work())

            def test_1(self) -> None:
                with self.block():
                    self.fill()

            def test_2(self) -> None:
                assert_not_cached(Product, pk, using=alias)
                with self.block():
                    with pytest.raises(Product.DoesNotExist):
                        Product.cached.using(alias).get(pk=pk)
                    self.fill()
                assert not Product.objects.using(alias).exclude(pk=pk).exists()

            def block(self) -> Any:
                return commit_work() if way == "block" else ExitStack()

            def fill(self) -> None:
                row = Product.objects.using(alias).create(pk=pk, name="of one test")
                read(row)
                assert_cached(row)
                with assert_selects(alias, 1):
                    assert not Gadget.cached.using(alias).filter(section=pk)
                gadget = Gadget.objects.using(alias).create(section_id=None, slug="of-one-test")
                Section.objects.using(alias).create(pk=pk)
                Gadget.objects.using(alias).update(section_id=pk)
                for _ in range(2):  # the listing, and then its row
                    assert list(Gadget.cached.using(alias).filter(section=pk)) == [gadget]
                with assert_selects(alias, 0):
                    assert list(Gadget.cached.using(alias).filter(section=pk)) == [gadget]

            if way == "decorator":
                test_1 = commit_work()(test_1)
                test_2 = commit_work()(test_2)

        with commit_work() if way == "around-all" else ExitStack():
            assert run_case(Tests, django_db_blocker).testsRun == 2
            with django_db_blocker.unblock():
                assert_not_cached(Product, pk, using=alias)
                with pytest.raises(Product.DoesNotExist):
                    Product.cached.using(alias).get(pk=pk)

    @pytest.mark.parametrize("alias", DATABASES)
    def test_rows_of_the_class_are_not_filled_by_the_next_test(
        self, alias: str, django_db_setup: None, django_db_blocker: Any
    ) -> None:
        """Their transaction goes on, and is rolled back with the class."""

        class Tests(TestCase):
            databases = {alias}

            @classmethod
            def setUpTestData(cls) -> None:
                cls.lamp = Product.objects.using(alias).create(name="lamp", price=10)

            def test_1(self) -> None:
                with commit_work():
                    update(self.lamp, 8)
                    assert read(self.lamp).price == 8
                    assert_cached(self.lamp)
                self.not_filled(8)

            def test_2(self) -> None:
                self.not_filled(10)

            def test_3(self) -> None:
                with commit_work():
                    assert read(self.lamp).price == 10
                    assert_cached(self.lamp)

            def not_filled(self, price: int) -> None:
                with assert_selects(alias, 1):
                    assert read(self.lamp).price == price
                assert_not_cached(self.lamp)

        assert run_case(Tests, django_db_blocker).testsRun == 3

    @pytest.mark.parametrize("alias", DATABASES)
    def test_a_block_around_the_class_drops_the_rows_of_each_test(
        self, alias: str, django_db_setup: None, django_db_blocker: Any
    ) -> None:
        class Tests(TestCase):
            databases = {alias}

            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                context = commit_work()
                context.__enter__()
                cls.addClassCleanup(context.__exit__, None, None, None)  # after the rollback, and its connection's end

            @classmethod
            def setUpTestData(cls) -> None:
                cls.lamp = Product.objects.using(alias).create(name="lamp", price=10)

            def test_1(self) -> None:
                read(self.lamp)
                update(self.lamp, 8)
                assert read(self.lamp).price == 8

            def test_2(self) -> None:
                assert_not_cached(self.lamp)
                assert read(self.lamp).price == 10
                assert_cached(self.lamp)

        assert run_case(Tests, django_db_blocker).testsRun == 2
        with django_db_blocker.unblock():
            assert_not_cached(Product, Tests.lamp.pk, using=alias)

    @with_commits
    def test_a_real_rollback_drops_the_rows_before_the_block_ends(self, alias: str) -> None:
        """With one block around all: pytest-django's ``db`` opens one transaction where ``TestCase`` opens two."""
        with commit_work():
            of_a_test = transaction.atomic(using=alias)
            of_a_test._from_testcase = True
            with of_a_test:
                row = Product.objects.using(alias).create(name="of one test")
                read(row)
                assert_cached(row)
                transaction.set_rollback(True, using=alias)
            assert_not_cached(row)

    @with_commits
    def test_a_block_does_not_see_what_earlier_tests_have_cached(
        self, lamp: Product, alias: str, django_db_blocker: Any
    ) -> None:
        """Else its round trips would depend on the order of the tests."""

        class Tests(TestCase):
            databases = {alias}

            def test(self) -> None:
                assert_cached(lamp)
                with commit_work():
                    assert_not_cached(lamp)

        read(lamp)
        run_case(Tests, django_db_blocker)

    @in_transaction
    def test_other_settings_are_emptied_too(self, lamp: Product) -> None:
        """Their keys are others', and a second test under the same settings would find them."""
        elsewhere = {"default": {**settings.CACHES["default"], "KEY_PREFIX": "elsewhere"}}
        with commit_work(), override_settings(CACHES=elsewhere):
            read(lamp)
            assert_cached(lamp)
        with override_settings(CACHES=elsewhere):
            assert_not_cached(lamp)

    @in_transaction
    def test_connections_are_as_they_were(self, alias: str) -> None:
        connection = connections[alias]
        before = (connection.rollback, list(connection.execute_wrappers))
        with pytest.raises(KeyError), commit_work():
            raise KeyError
        assert (connection.rollback, connection.execute_wrappers) == before
        assert state_of(connection).counts_as_autocommit is None

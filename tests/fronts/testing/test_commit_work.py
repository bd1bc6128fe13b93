"""``commit_work()``: inside the transaction of a test, what production does."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import IntegrityError, connections, transaction
from django.test import TestCase, TransactionTestCase

from django_cacheaside import invalidate
from django_cacheaside.testing import (
    armed,
    assert_cached,
    assert_not_cached,
    assert_round_trips,
    commit_work,
    empty_cache,
)
from tests.app.catalog import Item, Label
from tests.app.models import Plain, Product
from tests.fronts.testing.acts import (
    DATABASES,
    act_as_in_production,
    assert_selects,
    in_transaction,
    read,
    rolled_back,
    run_case,
    update,
    with_commits,
)


class TestCommitWork:
    @in_transaction
    def test_is_production_inside_the_transaction_of_a_test(self, alias: str) -> None:
        with commit_work():
            act_as_in_production(alias)

    @with_commits
    def test_is_not_needed_where_tests_commit(self, alias: str) -> None:
        empty_cache()
        act_as_in_production(alias)

    @with_commits
    def test_does_nothing_where_tests_commit(self, alias: str) -> None:
        empty_cache()
        with assert_round_trips(0), commit_work():
            pass
        with commit_work():
            act_as_in_production(alias)

    @in_transaction
    def test_reads_inside_atomic_as_production_does(self, lamp: Product, alias: str) -> None:
        """PostgreSQL serves hits there; SQLite can't, with whatever transaction around it."""
        with commit_work():
            read(lamp)
            with transaction.atomic(using=alias), assert_selects(alias, 0 if alias == "default" else 1):
                read(lamp)

    @in_transaction
    def test_fills_what_was_written_before_the_block(self, lamp: Product) -> None:
        with commit_work():
            read(lamp)
            assert_cached(lamp)

    @in_transaction
    def test_a_rollback_loses_nothing(self, lamp: Product, alias: str) -> None:
        with commit_work():
            read(lamp)
            with assert_round_trips(0), rolled_back(alias):
                update(lamp, 8)
                with transaction.atomic(using=alias):
                    update(lamp, 7)
            assert_cached(lamp)
            with assert_round_trips(1):
                assert read(lamp).price == 10

    @in_transaction
    def test_a_savepoint_of_the_test_takes_along_what_was_filled_after_it(self, lamp: Product, alias: str) -> None:
        """In autocommit there are none; here they undo what counted as committed."""
        with commit_work():
            create = getattr(transaction, "savepoint_create", None) or transaction.savepoint  # up to Django 6.0
            savepoint = create(using=alias)
            update(lamp, 8)
            assert read(lamp).price == 8
            transaction.savepoint_rollback(savepoint, using=alias)
            assert read(lamp).price == 10

    @in_transaction
    def test_of_a_savepoint_inside_atomic_nothing_is_seen(self, lamp: Product, alias: str) -> None:
        with commit_work():
            read(lamp)
            with transaction.atomic(using=alias):
                with rolled_back(alias):
                    update(lamp, 8)
                assert_cached(lamp)
            assert_not_cached(lamp)  # a key too many, as in production
            assert read(lamp).price == 10

    @in_transaction
    def test_does_what_is_due_from_blocks_without_a_savepoint(self, lamp: Product, alias: str) -> None:
        with commit_work():
            read(lamp)
            with transaction.atomic(using=alias, savepoint=False):
                update(lamp, 8)
            with assert_round_trips(3):  # not five: what is due is the block's
                assert read(lamp).price == 8

    @in_transaction
    def test_sees_related_rows(self, alias: str) -> None:
        with commit_work():
            item = Item.objects.using(alias).create()
            Item.cached.using(alias).get(pk=item.pk)
            label = Label.objects.using(alias).create(name="new")
            item.labels.add(label)
            assert_cached(item)
            with assert_round_trips(0):
                Plain.objects.using(alias).create(name="not cached")
            Item.objects.using(alias).bulk_update([Item(pk=item.pk, stock=5)], ["stock"])
            assert_not_cached(item)
            assert Item.cached.using(alias).get(pk=item.pk).stock == 5

    @in_transaction
    def test_invalidates_by_hand_at_once(self, lamp: Product) -> None:
        with commit_work():
            read(lamp)
            invalidate(lamp)
            assert_not_cached(lamp)

    @in_transaction
    def test_hooks_run_after_the_release(self, lamp: Product, alias: str) -> None:
        seen: list[int] = []
        with commit_work():
            read(lamp)
            with TestCase.captureOnCommitCallbacks(using=alias, execute=True), transaction.atomic(using=alias):
                update(lamp, 8)
                transaction.on_commit(lambda: seen.append(read(lamp).price), using=alias)
            assert seen == [8]
            assert_cached(lamp)

    @in_transaction
    def test_a_failed_statement_leaves_no_intent(self, lamp: Product, alias: str) -> None:
        """PostgreSQL refuses the rest of the test after it. The next test may use this very row."""
        with commit_work():
            with pytest.raises(IntegrityError), assert_round_trips(2):
                Product.objects.using(alias).create(pk=lamp.pk, name="twin")
            with pytest.raises(AssertionError) as failed:
                assert_cached(lamp)
            assert "a commit" not in str(failed.value)

    @in_transaction
    def test_a_broken_transaction_is_refused_as_ever(self, lamp: Product, alias: str) -> None:
        with commit_work():
            read(lamp)
            transaction.set_rollback(True, using=alias)
            with pytest.raises(transaction.TransactionManagementError):
                read(lamp)
            transaction.set_rollback(False, using=alias)

    @in_transaction
    def test_what_is_raised_before_a_commit_rolls_back(self, lamp: Product, alias: str) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        with commit_work():
            with armed("before-commit", interrupt), pytest.raises(KeyboardInterrupt), transaction.atomic(using=alias):
                update(lamp, 8)
            assert read(lamp).price == 10
            assert_cached(lamp)

    @in_transaction
    def test_nested_blocks_are_one(self, lamp: Product) -> None:
        with commit_work():
            with commit_work():
                read(lamp)
            assert_cached(lamp)
            update(lamp, 8)
            assert_not_cached(lamp)
            read(lamp)
            assert_cached(lamp)

    @in_transaction
    def test_coroutines_are_refused(self) -> None:
        async def enter() -> None:
            with commit_work():
                pass

        with pytest.raises(SynchronousOnlyOperation, match="setUp"):
            async_to_sync(enter)()

    @in_transaction
    def test_coroutines_read_what_a_test_has_written(self, lamp: Product, alias: str) -> None:
        async def test() -> None:
            await Product.cached.using(alias).aget(pk=lamp.pk)
            with assert_round_trips(1):
                await Product.cached.using(alias).aget(pk=lamp.pk)
            await Product.objects.using(alias).filter(pk=lamp.pk).aupdate(price=8)
            await sync_to_async(assert_not_cached)(lamp)
            assert (await Product.cached.using(alias).aget(pk=lamp.pk)).price == 8

        with commit_work():
            async_to_sync(test)()

    @in_transaction
    def test_wraps_what_is_not_connected_yet(self, alias: str) -> None:
        """The commit work of production stays on the connection."""
        connection = connections[alias]
        fresh = connection.copy()
        connections[alias] = fresh
        try:
            with commit_work():
                fresh.connect()
            assert fresh.commit.__wrapped__.__func__ is type(fresh).commit
            assert fresh.rollback.__wrapped__.__func__ is type(fresh).rollback
            assert len(fresh.execute_wrappers) == 1
        finally:
            fresh.close()
            connections[alias] = connection


class TestTransactionTestCase:
    @pytest.mark.parametrize("alias", DATABASES)
    def test_needs_nothing(self, alias: str, django_db_setup: None, django_db_blocker: Any) -> None:
        class Tests(TransactionTestCase):
            databases = {alias}

            def test(self) -> None:
                empty_cache()
                act_as_in_production(alias)

        run_case(Tests, django_db_blocker)

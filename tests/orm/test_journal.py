"""The journal: what the cache server could not be told of is in the database if the write is, and is relayed."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connections, transaction
from django.db.models import F, QuerySet
from django.test import override_settings
from django.utils import timezone

from django_cacheaside import checks
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.failpoints import armed
from django_cacheaside.models import JournalEntry
from django_cacheaside.orm import runtime
from django_cacheaside.orm.journal import poller
from django_cacheaside.orm.journal.poller import Poller, deliver
from django_cacheaside.orm.journal.record import LostInvalidationError
from django_cacheaside.orm.journal.relay import ENTRIES_PER_BATCH, JournalRelay
from django_cacheaside.signals import journal_lagging
from tests.app.keyed import Gadget
from tests.app.models import Plain, Product
from tests.orm.process import Process
from tests.orm.relaying import relay_until_told
from tests.orm.world import Elsewhere, Server, ident
from tests.races.play import Elsewhere as OtherProcess


class Undo(Exception):  # noqa: N818  no error
    """Rolls a transaction back."""


@contextmanager
def outage() -> Iterator[None]:
    """This process does not reach the server; another one does."""
    breaker = runtime.current().invalidator.breaker
    breaker._retry_s = 3600.0
    breaker.open("a test says so")
    try:
        yield
    finally:
        runtime.reset()


@pytest.fixture(autouse=True)
def empty(db_alias: str, server: Server) -> Iterator[None]:
    runtime.reset()
    server.empty()
    JournalEntry.objects.using(db_alias).all().delete()
    yield
    runtime.reset()
    JournalEntry.objects.using(db_alias).all().delete()


@pytest.fixture
def product(db_alias: str) -> Product:
    return Product.objects.using(db_alias).create(name="lamp", version=0)


@pytest.fixture
def other(db_alias: str) -> Iterator[OtherProcess]:
    other = OtherProcess(db_alias)
    yield other
    other.runtime.close()


def entries(db: str) -> list[JournalEntry]:
    return list(JournalEntry.objects.using(db).order_by("pk"))


def relay(db: str) -> JournalRelay:
    return runtime.current().relay_of(db)


def bump(db: str, pk: int) -> None:
    Product.objects.using(db).filter(pk=pk).update(version=F("version") + 1)


def bump_atomic(db: str, pk: int) -> None:
    with transaction.atomic(using=db):
        bump(db, pk)


class TestRecord:
    @pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
    def test_is_there_if_the_write_is(self, db_alias: str, product: Product, is_atomic: bool) -> None:
        with outage():
            if is_atomic:
                with transaction.atomic(using=db_alias):
                    bump(db_alias, product.pk)
            else:
                bump(db_alias, product.pk)
        (entry,) = entries(db_alias)
        assert entry.spaces == "app.product"
        assert (entry.due_at, entry.failure) == (None, "")
        assert QuerySet(Product).using(db_alias).get(pk=product.pk).version == 1

    def test_is_not_there_after_a_rollback(self, db_alias: str, product: Product) -> None:
        with outage(), transaction.atomic(using=db_alias):
            bump(db_alias, product.pk)
            transaction.set_rollback(True, using=db_alias)
        assert entries(db_alias) == []

    def test_is_one_however_many_writes_and_models(self, db_alias: str, product: Product) -> None:
        with outage(), transaction.atomic(using=db_alias):
            for _ in range(3):
                bump(db_alias, product.pk)
            Gadget.objects.using(db_alias).create(sku=f"s{product.pk}", slug=f"journal {product.pk}")
            Product.objects.using(db_alias).filter(version__lt=-1).update(version=0)
        (entry,) = entries(db_alias)
        assert {"app.product", "app.gadget", "app.gadget.unique:slug"} <= set(entry.spaces.split("\n"))

    def test_of_an_insert_has_the_key_that_the_database_gave(
        self, db_alias: str, other: OtherProcess, elsewhere: Elsewhere
    ) -> None:
        with outage():
            pk = Product.objects.using(db_alias).create(version=7).pk
        assert ident(Product, db_alias, pk).encode() in bytes(entries(db_alias)[0].keys)

    def test_nobody_writes_one_while_the_server_answers(self, db_alias: str, product: Product) -> None:
        bump(db_alias, product.pk)
        with transaction.atomic(using=db_alias):
            bump(db_alias, product.pk)
        assert entries(db_alias) == []

    def test_nor_for_what_is_not_cached(self, db_alias: str) -> None:
        with outage():
            Plain.objects.using(db_alias).create(name="a")
        assert entries(db_alias) == []

    def test_always_means_each_commit(self, db_alias: str, product: Product) -> None:
        with override_settings(CACHEASIDE={"JOURNAL": "always"}):
            bump(db_alias, product.pk)
            with transaction.atomic(using=db_alias):
                bump(db_alias, product.pk)
        assert len(entries(db_alias)) == 2

    def test_a_server_that_fails_at_the_intents_counts_as_away(self, db_alias: str, product: Product) -> None:
        """In autocommit the statement has not been sent by then: it goes into a transaction."""

        def fail() -> None:
            raise StoreUnavailableError("a test says so")

        with armed("before-intent", fail):
            bump(db_alias, product.pk)
            with transaction.atomic(using=db_alias):
                bump(db_alias, product.pk)
        assert len(entries(db_alias)) == 2

    def test_what_can_be_in_no_transaction_is_noted_before_it_and_due_later(self, db_alias: str) -> None:
        with outage(), connections[db_alias].cursor() as cursor:
            cursor.execute("CREATE TABLE app_product_copy AS SELECT * FROM app_product")
            cursor.execute("DROP TABLE app_product_copy")
        found = entries(db_alias)
        assert found
        assert all(entry.due_at is not None and entry.due_at > timezone.now() for entry in found)

    def test_raw_commits_are_noted_too(self, db_alias: str, product: Product) -> None:
        with outage(), connections[db_alias].cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("UPDATE app_product SET version = 5 WHERE id = %s", [product.pk])
            cursor.execute("COMMIT")
        assert len(entries(db_alias)) == 1

    def test_leaves_the_transaction_as_it_was_if_it_fails(self, db_alias: str, product: Product) -> None:
        """A savepoint: the error of the journal is not the transaction's."""
        with without_table(db_alias), override_settings(CACHEASIDE={"ON_LOST_INVALIDATION": "ttl"}), outage():
            with transaction.atomic(using=db_alias):
                bump(db_alias, product.pk)
            bump(db_alias, product.pk)
        assert QuerySet(Product).using(db_alias).get(pk=product.pk).version == 2


@contextmanager
def without_table(db: str) -> Iterator[None]:
    with connections[db].cursor() as cursor:
        cursor.execute("ALTER TABLE cacheaside_journalentry RENAME TO gone_journal")
    try:
        yield
    finally:
        with connections[db].cursor() as cursor:
            cursor.execute("ALTER TABLE gone_journal RENAME TO cacheaside_journalentry")


class TestLostInvalidation:
    @pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
    def test_fails_before_commit(self, db_alias: str, product: Product, is_atomic: bool) -> None:
        with without_table(db_alias), outage():
            write = partial(bump_atomic if is_atomic else bump, db_alias, product.pk)
            with pytest.raises(LostInvalidationError, match=f"migrate cacheaside --database={db_alias}"):
                write()
            assert QuerySet(Product).using(db_alias).get(pk=product.pk).version == 0
            assert not connections[db_alias].in_atomic_block
            Plain.objects.using(db_alias).create(name="goes on")
        bump(db_alias, product.pk)
        assert QuerySet(Product).using(db_alias).get(pk=product.pk).version == 1

    def test_is_an_error_of_the_database(self) -> None:
        assert issubclass(LostInvalidationError, DatabaseError)

    def test_a_raw_commit_is_not_sent(self, db_alias: str, product: Product) -> None:
        with without_table(db_alias), outage(), connections[db_alias].cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("UPDATE app_product SET version = 5 WHERE id = %s", [product.pk])
            with pytest.raises(LostInvalidationError):
                cursor.execute("COMMIT")
            cursor.execute("ROLLBACK")
        assert QuerySet(Product).using(db_alias).get(pk=product.pk).version == 0

    def test_ttl_goes_on_and_says_so(self, db_alias: str, product: Product, caplog: Any) -> None:
        with (
            override_settings(CACHEASIDE={"ON_LOST_INVALIDATION": "ttl"}),
            without_table(db_alias),
            outage(),
            caplog.at_level(logging.ERROR, "django_cacheaside"),
        ):
            bump(db_alias, product.pk)
        assert "others may serve old rows for the TTL" in caplog.text
        assert QuerySet(Product).using(db_alias).get(pk=product.pk).version == 1

    def test_the_check_says_what_to_run(self, db_alias: str) -> None:
        assert checks.check_journal(databases=[db_alias]) == []
        with without_table(db_alias):
            found = checks.check_journal(databases=[db_alias])
            assert checks.check_journal(databases=[]) == []
        if db_alias == "default":
            (message,) = found
            assert message.id == "cacheaside.W023"
            assert "migrate cacheaside --database=default" in message.hint


class TestRelay:
    def test_voids_what_the_others_hold(self, db_alias: str, product: Product, other: OtherProcess) -> None:
        """Until then they serve the old row, which is what the journal is for."""
        assert other.version(product.pk) == 0
        with outage():
            bump(db_alias, product.pk)
        assert other.version(product.pk) == 0
        assert relay(db_alias).run_batch().delivered == 1
        assert other.version(product.pk) == 1
        assert entries(db_alias) == []

    def test_voids_declared_keys_and_whole_models(self, db_alias: str, elsewhere: Elsewhere) -> None:
        row = Gadget.objects.using(db_alias).create(sku=f"r{timezone.now()}", slug=f"relay {timezone.now()}")

        def slugs() -> list[Any]:
            return list(Gadget.cached.using(db_alias).filter(slug="late " + str(row.slug)).values_list("pk", flat=True))

        def found() -> int | None:
            one = Gadget.cached.using(db_alias).filter(slug="late " + str(row.slug)).first()
            return one and one.pk

        assert found() is None
        with outage():
            Gadget.objects.using(db_alias).filter(pk=row.pk).update(slug="late " + str(row.slug))
        assert deliver(relay(db_alias)) == 1
        assert found() == row.pk

    def test_a_late_fill_of_the_old_row_is_refused(self, db_alias: str, product: Product, other: OtherProcess) -> None:
        """A reader has loaded before the COMMIT, and fills after the relay."""

        def write_and_relay() -> None:
            with outage():
                bump(db_alias, product.pk)
            relay(db_alias).run_batch()

        once = iter([write_and_relay])
        with armed("before-fill", lambda: next(once, lambda: None)()):
            other.version(product.pk)
        assert other.version(product.pk) == 1

    def test_delivers_once_more_what_was_not_deleted(self, db_alias: str, product: Product) -> None:
        with outage():
            bump(db_alias, product.pk)

        def die() -> None:
            raise Undo

        with armed("after-relay", die), pytest.raises(Undo):
            relay(db_alias).run_batch()
        assert len(entries(db_alias)) == 1
        assert relay(db_alias).run_batch().delivered == 1
        assert entries(db_alias) == []

    def test_keeps_what_the_server_does_not_take(self, db_alias: str, product: Product) -> None:
        with outage():
            bump(db_alias, product.pk)
        with (
            override_settings(CACHES=nowhere()),
            pytest.raises(StoreUnavailableError),
        ):
            relay(db_alias).run_batch()
        assert len(entries(db_alias)) == 1

    def test_leaves_out_what_another_one_is_delivering(
        self, db_alias: str, product: Product, elsewhere: Elsewhere
    ) -> None:
        if db_alias == "sqlite":
            pytest.skip("SQLite has no SKIP LOCKED: there a second relay waits, and finds nothing left")
        with outage():
            bump(db_alias, product.pk)
        seen: list[int] = []
        with armed("after-relay", lambda: seen.append(elsewhere(relay(db_alias).run_batch).delivered)):
            assert relay(db_alias).run_batch().delivered == 1
        assert seen == [0]

    @pytest.mark.parametrize("keys", [b"", b"\x80garbage", b"\x81\xa1\xae\x90", b"\x81\x01\x02"], ids=repr)
    def test_sets_aside_what_it_can_t_read(
        self, db_alias: str, product: Product, other: OtherProcess, caplog: Any, keys: bytes
    ) -> None:
        assert other.version(product.pk) == 0
        with outage():
            bump(db_alias, product.pk)
        JournalEntry.objects.using(db_alias).update(keys=keys)
        with caplog.at_level(logging.ERROR, "django_cacheaside"):
            assert relay(db_alias).run_batch().set_aside == 1
        assert "was set aside" in caplog.text
        (entry,) = entries(db_alias)
        assert "can't be read" in entry.failure
        assert other.version(product.pk) == 1
        assert relay(db_alias).run_batch().delivered == 0

    def test_cleans_what_was_set_aside_long_ago(self, db_alias: str) -> None:
        rows = JournalEntry.objects.using(db_alias)
        rows.create(keys=b"", spaces="app.product", failure="old", recorded_at=timezone.now() - timedelta(days=8))
        rows.create(keys=b"", spaces="app.product", failure="new")
        assert relay(db_alias).clean() == 1
        assert [entry.failure for entry in entries(db_alias)] == ["new"]

    def test_waits_for_what_is_not_due(self, db_alias: str) -> None:
        rows = JournalEntry.objects.using(db_alias)
        rows.create(keys=b"\x80", spaces="app.product", due_at=timezone.now() + timedelta(hours=1))
        rows.create(keys=b"\x80", spaces="app.product", due_at=timezone.now() - timedelta(hours=1))
        assert relay(db_alias).run_batch().delivered == 1

    def test_goes_on_batch_by_batch(self, db_alias: str) -> None:
        rows = JournalEntry.objects.using(db_alias)
        rows.bulk_create(JournalEntry(keys=b"\x80", spaces="") for _ in range(ENTRIES_PER_BATCH + 1))
        assert deliver(relay(db_alias)) == ENTRIES_PER_BATCH + 1
        assert entries(db_alias) == []

    def test_says_that_it_lags(self, db_alias: str, caplog: Any) -> None:
        late = timezone.now() - timedelta(seconds=poller.LATE_S + 5)
        JournalEntry.objects.using(db_alias).create(keys=b"\x80", spaces="", recorded_at=late)
        heard: list[dict[str, Any]] = []

        def hear(**said: Any) -> None:
            heard.append(said)

        journal_lagging.connect(hear)
        try:
            with caplog.at_level(logging.WARNING, "django_cacheaside"):
                deliver(relay(db_alias))
        finally:
            journal_lagging.disconnect(hear)
        assert heard[0]["alias"] == db_alias
        assert heard[0]["age_s"] > poller.LATE_S
        assert "lags" in caplog.text


def nowhere() -> dict[str, Any]:
    return {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "unix:///nowhere/redis.sock",
            "KEY_PREFIX": "t",
        }
    }


class TestPoller:
    def looker(self, db: str) -> Poller:
        current = runtime.current()
        return Poller(
            current.store, current.invalidator.breaker, interval_s=1.0, lease_key=lambda database: f"x:{database}"
        )

    def test_one_of_the_fleet_delivers(self, db_alias: str, product: Product, elsewhere: Elsewhere) -> None:
        first, second = self.looker(db_alias), self.looker(db_alias)
        assert first._is_elected("d")
        assert not second._is_elected("d")
        assert first._is_elected("d")

    def test_delivers(self, db_alias: str, product: Product, elsewhere: Elsewhere) -> None:
        with outage():
            bump(db_alias, product.pk)
        elsewhere(self.looker(db_alias)._look, relay(db_alias))
        assert entries(db_alias) == []

    def test_outlives_a_database_without_a_table(
        self, db_alias: str, product: Product, elsewhere: Elsewhere, caplog: Any
    ) -> None:
        with outage():
            bump(db_alias, product.pk)
        looker = self.looker(db_alias)
        with without_table(db_alias), caplog.at_level(logging.WARNING, "django_cacheaside"):
            elsewhere(looker._look, relay(db_alias))
        assert "can't be read, looking again later" in caplog.text
        for _ in range(poller.TICKS_WITHOUT_TABLE):
            elsewhere(looker._look, relay(db_alias))
        assert len(entries(db_alias)) == 1
        elsewhere(looker._look, relay(db_alias))
        assert entries(db_alias) == []

    def test_delivers_what_there_is_before_hits_are_served_again(
        self, db_alias: str, product: Product, elsewhere: Elsewhere
    ) -> None:
        """Of all writers, whatever the elected one is doing."""
        with outage():
            bump(db_alias, product.pk)
        looker = self.looker(db_alias)
        looker.watch(relay(db_alias))
        assert elsewhere(looker.deliver_all)
        assert entries(db_alias) == []
        assert elsewhere(looker.deliver_all), "with nothing to deliver"

    def test_is_not_through_while_another_process_delivers(
        self, db_alias: str, product: Product, elsewhere: Elsewhere
    ) -> None:
        """It holds the entry, and has not told the server yet."""
        if db_alias == "sqlite":
            pytest.skip("SQLite has no SKIP LOCKED: there a second relay waits")
        with outage():
            bump(db_alias, product.pk)
        looker = self.looker(db_alias)
        looker.watch(relay(db_alias))
        heard: list[bool] = []
        with armed("after-relay", lambda: heard.append(elsewhere(looker.deliver_all))):
            relay(db_alias).run_batch()
        assert heard == [False]
        assert elsewhere(looker.deliver_all)

    def test_does_not_wait_for_a_database_without_a_table(
        self, db_alias: str, product: Product, elsewhere: Elsewhere, caplog: Any
    ) -> None:
        looker = self.looker(db_alias)
        looker.watch(relay(db_alias))
        with without_table(db_alias), caplog.at_level(logging.WARNING, "django_cacheaside"):
            assert elsewhere(looker.deliver_all)
        assert "hits go on all the same" in caplog.text

    def test_never_starts_in_a_test_run(self, db_alias: str) -> None:
        """Its connection would keep the test database from being dropped."""
        looker = self.looker(db_alias)
        looker.watch(relay(db_alias))
        assert looker._thread is None

    def test_a_read_does_not_fail_where_no_thread_can_be_started(
        self, db_alias: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A process at its limit of threads. Others relay for it, and it tries again with the next model."""
        from django.core import mail

        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.delattr(mail, "outbox")
        looker = self.looker(db_alias)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            looker.watch(relay(db_alias))
        assert "The journal is left to other processes" in caplog.text
        looker.watch(relay(db_alias))
        assert looker._thread is not None
        looker.close()
        looker._thread.join(timeout=20)

    def test_is_off_by_a_setting(self, db_alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from django.core import mail

        monkeypatch.delattr(mail, "outbox")
        current = runtime.current()
        looker = Poller(current.store, current.invalidator.breaker, interval_s=None, lease_key=str)
        looker.watch(relay(db_alias))
        assert looker._thread is None


class TestCommand:
    def test_once_delivers_and_ends(self, db_alias: str, product: Product, capsys: Any) -> None:
        with outage():
            bump(db_alias, product.pk)
        call_command("cacheaside", "relay", "--once", database=db_alias)
        assert "Delivered 1 journal entry." in capsys.readouterr().out
        assert entries(db_alias) == []

    def test_once_fails_where_there_is_no_table(self, db_alias: str) -> None:
        with without_table(db_alias), pytest.raises(CommandError, match="can't be read"):
            call_command("cacheaside", "relay", "--once", database=db_alias)

    def test_refuses_an_interval_that_is_none(self) -> None:
        with pytest.raises(CommandError, match="--interval"):
            call_command("cacheaside", "relay", interval=0.0)

    def test_sigterm_ends_it(self, db_alias: str, product: Product) -> None:
        """A process of its own: it delivers what comes, and ends when it is told to."""
        process = Process()
        try:
            with ThreadPoolExecutor(1) as caller:
                said = caller.submit(process, relay_until_told, db_alias)
                with outage():
                    bump(db_alias, product.pk)
                deadline_s = time.monotonic() + 20
                while entries(db_alias) and time.monotonic() < deadline_s:
                    time.sleep(0.02)
                assert entries(db_alias) == []
                assert not said.done()
                os.kill(process.pid, signal.SIGTERM)
                assert said.result(timeout=20) == "Delivered 1 journal entry.\n"
        finally:
            process.close()

"""The near cache through the managers: no round trip, the same rows, and never one that this process has replaced."""

from __future__ import annotations

import copy
import os
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing import Pipe
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, transaction
from django.db.models import F
from django.db.models.signals import post_delete, post_save, pre_save
from django.test.utils import isolate_apps

from django_cacheaside import Near, disabled, invalidate
from django_cacheaside.engine.near.policy import NearPolicy
from django_cacheaside.engine.tally import Event
from django_cacheaside.exceptions import NearInstanceError
from django_cacheaside.models import CacheAsideMixin
from django_cacheaside.orm import runtime
from django_cacheaside.orm.net.wrapper import forget_plans
from django_cacheaside.orm.options import read_options
from django_cacheaside.orm.register import cached, register
from django_cacheaside.orm.registry import registry
from django_cacheaside.testing import assert_round_trips
from tests.app.catalog import Brand, Item
from tests.app.handy import Handy, HandyProxy, Quick
from tests.orm.process import Process

pytestmark = pytest.mark.usefixtures("databases")

DEADLINE_S = 10.0


def until(is_so: Callable[[], object]) -> None:
    """Wait for another thread, or for the server."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def near_hits(model: type[models.Model] = Handy) -> int:
    return registry.for_model(model).tally.counts[Event.NEAR_HIT]


def come_near(pk: int, *, model: Any = Handy, using: str = "default") -> None:
    """Read a row until it is served from near."""

    def is_near() -> bool:
        before = near_hits(model)
        model.cached.using(using).in_bulk([pk])
        return near_hits(model) > before

    until(is_near)


def version(pk: int, *, using: str = "default") -> int | None:
    """For another process, too."""
    found = Handy.cached.using(using).in_bulk([pk])
    return found[pk].version if found else None


def bump(pk: int, *, using: str = "default") -> None:
    """For another process, too."""
    Handy.objects.using(using).filter(pk=pk).update(version=F("version") + 1)


@pytest.fixture
def row(db_alias: str) -> Iterator[Handy]:
    """One that is near."""
    made = Handy.objects.using(db_alias).create(data={"colours": ["red"]})
    come_near(made.pk, using=db_alias)
    yield made
    Handy.objects.using(db_alias).filter(pk=made.pk).delete()


class TestHit:
    def test_is_no_round_trip(self, row: Handy, db_alias: str) -> None:
        with assert_round_trips(0):
            assert Handy.cached.using(db_alias).get(pk=row.pk) == row

    def test_is_counted_apart(self, row: Handy, db_alias: str) -> None:
        counts = registry.for_model(Handy).tally.counts
        before = dict(counts)
        Handy.cached.using(db_alias).get(pk=row.pk)
        changed = {event: counts[event] - before[event] for event in counts if counts[event] != before[event]}
        assert changed == {Event.NEAR_HIT: 1}

    def test_shares_nothing_with_other_reads(self, row: Handy, db_alias: str) -> None:
        first = Handy.cached.using(db_alias).get(pk=row.pk)
        first.data["colours"].append("blue")
        first.name = "mine"
        second = Handy.cached.using(db_alias).get(pk=row.pk)
        assert (second.data, second.name) == ({"colours": ["red"]}, "old")

    @pytest.mark.parametrize(
        "read",
        [
            pytest.param(lambda rows: rows.in_bulk([10**6]), id="many"),
            pytest.param(lambda rows: not_found(rows), id="one"),
        ],
    )
    def test_knows_rows_that_are_missing(self, db_alias: str, read: Callable[[Any], object]) -> None:
        def is_near() -> bool:
            before = near_hits()
            assert not read(Handy.cached.using(db_alias))
            return near_hits() > before

        until(is_near)
        with assert_round_trips(0), pytest.raises(Handy.DoesNotExist):
            Handy.cached.using(db_alias).get(pk=10**6)
        made = Handy.objects.using(db_alias).create(pk=10**6)
        assert Handy.cached.using(db_alias).get(pk=10**6) == made
        made.delete()

    def test_of_many_asks_for_the_others_at_once(self, row: Handy, db_alias: str) -> None:
        others = [Handy.objects.using(db_alias).create() for _ in range(3)]
        pks = [others[0].pk, row.pk, others[1].pk, others[2].pk]
        Handy.cached.using(db_alias).in_bulk(pks)
        runtime.current().near.clear()
        come_near(row.pk, using=db_alias)
        with assert_round_trips(1) as made:
            assert list(Handy.cached.using(db_alias).in_bulk(pks)) == pks
        assert f"e:{row.pk} " not in f"{made} "
        with assert_round_trips(0):
            assert list(Handy.cached.using(db_alias).in_bulk(pks)) == pks

    def test_by_a_declared_key_saves_the_second_round_trip(self, row: Handy, db_alias: str) -> None:
        Handy.objects.using(db_alias).filter(pk=row.pk).update(slug=f"slug-{row.pk}")
        Handy.cached.using(db_alias).get(slug=f"slug-{row.pk}")
        come_near(row.pk, using=db_alias)
        with assert_round_trips(1):
            assert Handy.cached.using(db_alias).get(slug=f"slug-{row.pk}") == row

    def test_from_a_coroutine(self, db_alias: str, row: Handy) -> None:
        with assert_round_trips(0):
            assert async_to_sync(Handy.cached.using(db_alias).aget)(pk=row.pk) == row

    def test_of_a_proxy_is_an_instance_of_it(self, row: Handy, db_alias: str) -> None:
        with assert_round_trips(0):
            assert type(HandyProxy.cached.using(db_alias).get(pk=row.pk)) is HandyProxy


class TestOwnWrites:
    """Nothing is waited for between the write and the read: what this process has written is not near any more."""

    @pytest.mark.parametrize(
        "write",
        [
            pytest.param(lambda rows, row: rows.filter(pk=row.pk).update(version=7), id="update-by-pk"),
            pytest.param(lambda rows, row: rows.filter(name="old").update(version=7), id="update-by-a-condition"),
            pytest.param(lambda rows, row: rows.bulk_update([changed(row)], ["version"]), id="bulk-update"),
            pytest.param(lambda rows, row: changed(row).save(), id="save"),
            pytest.param(lambda rows, row: changed(row).save(update_fields=["version"]), id="save-of-a-column"),
            pytest.param(
                lambda rows, row: connections[rows.db].cursor().execute("UPDATE app_handy SET version = 7"), id="sql"
            ),
        ],
    )
    @pytest.mark.parametrize("is_atomic", [pytest.param(False, id="autocommit"), pytest.param(True, id="atomic")])
    def test_are_seen_at_once(self, row: Handy, db_alias: str, write: Callable[..., Any], is_atomic: bool) -> None:
        rows = Handy.objects.using(db_alias)
        if is_atomic:
            with transaction.atomic(using=db_alias):
                write(rows, row)
        else:
            write(rows, row)
        assert version(row.pk, using=db_alias) == 7

    def test_delete(self, row: Handy, db_alias: str) -> None:
        pk = row.pk
        row.delete()
        assert version(pk, using=db_alias) is None

    def test_of_a_transaction_are_seen_in_it(self, row: Handy, db_alias: str) -> None:
        with transaction.atomic(using=db_alias):
            bump(row.pk, using=db_alias)
            assert version(row.pk, using=db_alias) == 1
        assert version(row.pk, using=db_alias) == 1

    def test_that_are_rolled_back_lose_nothing(self, row: Handy, db_alias: str) -> None:
        with transaction.atomic(using=db_alias):
            bump(row.pk, using=db_alias)
            transaction.set_rollback(True, using=db_alias)
        with assert_round_trips(0):
            assert version(row.pk, using=db_alias) == 0

    def test_by_hand(self, row: Handy, db_alias: str) -> None:
        with connections[db_alias].cursor() as cursor, disabled():
            cursor.cursor.execute(f"UPDATE app_handy SET version = 7 WHERE id = {row.pk}")
        invalidate(Handy, row.pk, using=db_alias)
        assert version(row.pk, using=db_alias) == 7

    def test_while_the_server_is_not_told(self, row: Handy, db_alias: str) -> None:
        runtime.current().breaker.open("a test says so")
        bump(row.pk, using=db_alias)
        assert version(row.pk, using=db_alias) == 1
        runtime.reset()
        assert version(row.pk, using=db_alias) == 1


class TestOthersWrites:
    def test_of_another_process_are_seen(self, row: Handy, db_alias: str, second_process: Process) -> None:
        """Its push came before its COMMIT; who reads takes it first."""
        for number in range(1, 20):
            second_process(bump, row.pk, using=db_alias)
            assert version(row.pk, using=db_alias) == number
            come_near(row.pk, using=db_alias)

    def test_are_seen_by_another_process(self, row: Handy, db_alias: str, second_process: Process) -> None:
        for number in range(1, 20):
            second_process(come_near, row.pk, using=db_alias)
            bump(row.pk, using=db_alias)
            assert second_process(version, row.pk, using=db_alias) == number

    def test_of_a_whole_model_are_seen(self, row: Handy, db_alias: str, second_process: Process) -> None:
        second_process(invalidate_all, db_alias)
        with assert_round_trips(3):  # look, lease, fill
            version(row.pk, using=db_alias)


class TestOff:
    """Where a hit is off, a near hit is."""

    def test_while_the_circuit_is_open(self, row: Handy, db_alias: str) -> None:
        before = near_hits()
        runtime.current().breaker.open("a test says so")
        with assert_round_trips(0):
            assert version(row.pk, using=db_alias) == 0
        assert near_hits() == before
        assert runtime.current().near.state().models["app.handy"].entries == 0
        runtime.reset()

    def test_while_it_is_disabled(self, row: Handy, db_alias: str) -> None:
        before = near_hits()
        with disabled():
            version(row.pk, using=db_alias)
        assert near_hits() == before

    def test_in_a_contested_database(self, row: Handy, db_alias: str) -> None:
        before = near_hits()
        agreements = runtime.current().agreements.all()
        for agreement in agreements:
            agreement._foreign = {"another": "made differently"}
            agreement.due_s = float("-inf")
            agreement._look_at_s = float("inf")
        try:
            version(row.pk, using=db_alias)
        finally:
            runtime.reset()
        is_private = not agreements
        assert is_private or near_hits() == before

    def test_in_a_snapshot(self, databases: None) -> None:
        row = Handy.objects.using("default").create()
        come_near(row.pk, using="default")
        before = near_hits()
        with transaction.atomic(using="default"):
            with connections["default"].cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            version(row.pk, using="default")
        assert near_hits() == before
        row.delete()

    def test_where_the_model_does_not_ask_for_it(self, databases: None) -> None:
        place = runtime.current().place(registry.for_model(Item), connections["default"])
        assert place.source is not None
        assert place.source.near is None

    def test_when_the_server_is_frozen(self, databases: None) -> None:
        """Blind for longer than the model allows: the server is asked, and so its silence is found out."""
        row = Quick.objects.create()
        come_near(row.pk, model=Quick)
        line = runtime.current().near.line
        assert line is not None
        line.synced_s -= 0.6
        before = near_hits(Quick)
        assert Quick.cached.get(pk=row.pk) == row
        assert near_hits(Quick) == before


class TestThreads:
    def test_read_while_one_writes(self, row: Handy, db_alias: str) -> None:
        """Each reads no version older than the newest that was committed when its read began."""
        if db_alias == "sqlite":
            pytest.skip("SQLite lets one in at a time")
        committed, wrong, is_over = [0], [], threading.Event()

        def read() -> None:
            try:
                while not is_over.is_set():
                    least = committed[0]
                    found = version(row.pk, using=db_alias)
                    if found is None or found < least:
                        wrong.append((found, least))
            finally:
                connections.close_all()

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        try:
            for number in range(1, 150):
                bump(row.pk, using=db_alias)
                committed[0] = number
        finally:
            is_over.set()
            for reader in readers:
                reader.join()
        assert wrong == []


class Child:
    """A fork of this process, with its threads' locks and its near cache as they were; it does what it is told."""

    def __init__(self) -> None:
        self._ours, theirs = Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for alias in connections:
                    connections[alias].connection = None  # the parent's
                while (asked := theirs.recv()) is not None:
                    function, arguments = asked
                    theirs.send(function(*arguments))
            finally:
                os._exit(1)
        theirs.close()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._ours.send((function, arguments))
        assert self._ours.poll(DEADLINE_S)
        return self._ours.recv()

    def end(self) -> None:
        self._ours.send(None)
        os.waitpid(self.pid, 0)
        self._ours.close()


class TestFork:
    """As under gunicorn with ``--preload``: rows are near, and threads are reading, when the workers are made."""

    def test_children_and_parent_hear_of_each_others_writes(self, databases: None) -> None:
        row = Handy.objects.create()
        come_near(row.pk)
        is_over = threading.Event()

        def read() -> None:
            try:
                while not is_over.is_set():
                    version(row.pk)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        children = [Child() for _ in range(3)]
        is_over.set()
        for thread in threads:
            thread.join()
        try:
            for number in range(1, 13):
                for child in children:
                    child(come_near, row.pk)
                come_near(row.pk)
                writer = number % 4
                if writer == 3:
                    bump(row.pk)
                else:
                    children[writer](bump, row.pk)
                assert [version(row.pk), *(child(version, row.pk) for child in children)] == [number] * 4
        finally:
            for child in children:
                child.end()
        row.delete()


class TestSaveGuard:
    """Whether the row came from near or not: what is refused must not depend on what was cached."""

    @pytest.fixture
    def served(self, row: Handy, db_alias: str) -> Handy:
        return Handy.cached.using(db_alias).get(pk=row.pk)

    def test_refuses_to_write_all_columns(self, served: Handy) -> None:
        with pytest.raises(NearInstanceError, match=r"update_fields=\[…\].*Handy\.objects.*refresh_from_db"):
            served.save()

    def test_refuses_at_a_first_read_too(self, row: Handy, db_alias: str) -> None:
        runtime.current().near.clear()
        with pytest.raises(NearInstanceError):
            Handy.cached.using(db_alias).get(pk=row.pk).save()

    def test_refuses_of_a_proxy_too(self, row: Handy, db_alias: str) -> None:
        with pytest.raises(NearInstanceError, match="HandyProxy"):
            HandyProxy.cached.using(db_alias).get(pk=row.pk).save()

    def test_refuses_what_was_pickled_or_copied(self, served: Handy) -> None:
        for same in (pickle.loads(pickle.dumps(served)), copy.copy(served), copy.deepcopy(served)):
            with pytest.raises(NearInstanceError):
                same.save()

    def test_refuses_in_a_coroutine(self, served: Handy) -> None:
        with pytest.raises(NearInstanceError):
            async_to_sync(served.asave)()

    def test_refuses_what_only_some_columns_were_read_again_of(self, served: Handy) -> None:
        served.refresh_from_db(fields=["name"])
        with pytest.raises(NearInstanceError):
            served.save()

    @pytest.mark.parametrize("update_fields", [["version"], []])
    def test_lets_some_columns_pass(self, served: Handy, update_fields: list[str]) -> None:
        served.version = 5
        served.save(update_fields=update_fields)

    def test_lets_pass_what_was_read_again(self, served: Handy) -> None:
        served.refresh_from_db()
        served.version = 5
        served.save()

    def test_lets_pass_what_was_read_again_in_a_coroutine(self, served: Handy) -> None:
        async_to_sync(served.arefresh_from_db)()
        served.save()

    def test_lets_a_copy_be_a_new_row(self, served: Handy) -> None:
        served.pk, served.slug = None, uuid.uuid4().hex
        served.save()
        assert Handy.objects.using(served._state.db).filter(pk=served.pk).delete()[0] == 1

    def test_lets_it_be_deleted(self, served: Handy) -> None:
        served.delete()

    def test_lets_pass_what_the_database_gave(self, row: Handy, db_alias: str) -> None:
        Handy.objects.using(db_alias).get(pk=row.pk).save()

    @pytest.mark.parametrize(
        ("model", "fields", "column"),
        [
            pytest.param(Brand, {}, "name", id="plain"),
            pytest.param(User, {"username": "near"}, "first_name", id="with-a-column-that-is-not-cached"),
        ],
    )
    def test_of_a_registered_model(self, db_alias: str, model: Any, fields: dict[str, str], column: str) -> None:
        label = model._meta.label
        register(model, near=True)
        try:
            made = model.objects.using(db_alias).create(**fields)
            with pytest.raises(NearInstanceError):
                cached(model).using(db_alias).get(pk=made.pk).save()
            cached(model).using(db_alias).get(pk=made.pk).save(update_fields=[column])
            made.delete()
        finally:
            registry.remove(model)
            for signal, name in ((post_save, label), (post_delete, label), (pre_save, f"near.{label}")):
                assert signal.disconnect(sender=model, dispatch_uid=f"django_cacheaside.{name}")
            forget_plans()
            runtime.reset()

    def test_asks_nothing_of_other_models(self) -> None:
        assert not pre_save.has_listeners(Brand)


class TestOption:
    @pytest.mark.parametrize(
        ("near", "policy"),
        [
            pytest.param(False, None, id="off"),
            pytest.param(True, NearPolicy(16_000_000, 1.0), id="on"),
            pytest.param(Near(max_bytes=50_000), NearPolicy(50_000, 1.0), id="bytes"),
            pytest.param(Near(max_staleness=timedelta(seconds=2)), NearPolicy(16_000_000, 2.0), id="timedelta"),
        ],
    )
    def test_is_taken(self, near: object, policy: NearPolicy | None) -> None:
        assert declared(near).near == policy

    @pytest.mark.parametrize(
        ("near", "message"),
        [
            pytest.param(1, "it takes True, False or Near", id="number"),
            pytest.param(None, "it takes True, False or Near", id="none"),
            pytest.param(Near(max_bytes=100), "at least 10000 bytes", id="too-little"),
            pytest.param(Near(max_bytes=1e6), "a whole number", id="no-whole-number"),  # type: ignore[arg-type]
            pytest.param(Near(max_staleness=0), "between 0.05 and 60 s", id="no-time"),
            pytest.param(Near(max_staleness="1"), "it takes seconds", id="text"),  # type: ignore[arg-type]
        ],
    )
    def test_that_is_wrong_is_refused(self, near: object, message: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=message):
            declared(near)


class TestState:
    def test_says_what_is_near(self, row: Handy, db_alias: str) -> None:
        before = runtime.current().near.state().models["app.handy"].hits
        Handy.cached.using(db_alias).get(pk=row.pk)
        state = runtime.current().near.state()
        counts = state.models["app.handy"]
        assert state.is_on
        assert counts.hits == before + 1
        assert counts.entries >= 1
        assert 0 < counts.bytes <= counts.max_bytes == 200_000


class TestServer:
    def test_flushall_is_seen(self, row: Handy, db_alias: str, client: redis.Redis) -> None:
        client.flushall()
        client.ping()  # FLUSHALL's push goes to another socket, maybe after its reply, surely before a later one
        with assert_round_trips(3):
            assert version(row.pk, using=db_alias) == 0


def not_found(rows: Any) -> None:
    with pytest.raises(Handy.DoesNotExist):
        rows.get(pk=10**6)


def declared(near: object) -> Any:
    with isolate_apps("tests.app"):

        class Declared(CacheAsideMixin, models.Model):
            class Meta:
                app_label = "app"

        registry.remove(Declared)
        forget_plans()
        Declared.CacheAside = type("CacheAside", (), {"near": near})  # type: ignore[attr-defined]
        return read_options(Declared)


def changed(row: Handy) -> Handy:
    row.version = 7
    return row


def invalidate_all(alias: str) -> None:
    """For another process."""
    invalidate(Handy, using=alias)

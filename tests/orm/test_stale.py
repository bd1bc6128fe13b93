"""Values served beyond their life: what it costs, who loads them again, and that no write leaves one behind.

A test run has no background threads: the first reader of a stale value loads it and is served what it loaded.
``tests/faults/test_stale.py`` has processes that load in the background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.core.management import call_command
from django.db import DatabaseError, connections, transaction
from django.db.models import Model
from django.test import override_settings

from django_cacheaside import invalidate
from django_cacheaside.engine import refresh
from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from django_cacheaside.orm.index.source import IndexSource
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.envelope import FRESH_UNTIL
from django_cacheaside.store.store import new_token
from django_cacheaside.store.writes import Writes
from tests.app.keyed import Gadget, Section
from tests.app.models import Product
from tests.orm.costs import Count
from tests.races import mutants
from tests.races.play import Mutant

STALE_S = 600


@pytest.fixture(autouse=True)
def stale() -> Iterator[None]:
    """Every model serves values beyond their life."""
    with override_settings(CACHEASIDE={"CACHE": "default", "STALE": STALE_S, "WAIT": 0}):
        yield


@pytest.fixture
def no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row whose load has failed is not tried again within the test."""
    monkeypatch.setattr(refresh, "REST_S", 3600.0)


def make(alias: str, **fields: Any) -> int:
    return int(Product.objects.using(alias).create(**fields).pk)


def version(pk: int, alias: str) -> int:
    return int(Product.cached.using(alias).get(pk=pk).version)


def behind_our_back(pk: int, alias: str, **values: Any) -> None:
    """Write a row as psql does: what is cached of it stays as it is."""
    connection = connections[alias]
    connection.ensure_connection()
    mark = "?" if connection.vendor == "sqlite" else "%s"
    assignments = ", ".join(f"{name} = {mark}" for name in values)
    connection.connection.execute(f"UPDATE app_product SET {assignments} WHERE id = {mark}", [*values.values(), pk])


def entry_of(model: type[Model], ident: object, alias: str) -> str:
    return runtime.current().place(registry.for_model(model), connections[alias]).space.entry(str(ident))


def outlive(client: redis.Redis, *entries: str) -> None:
    """The life of values is over: they say that they were fresh until 1970."""
    for entry in entries:
        before = client.get(entry)
        assert before is not None
        assert before[:2] == b"\xcaV"
        client.setrange(entry, FRESH_UNTIL.start, bytes(8))


def counts(model: type[Model] = Product) -> dict[Event, int]:
    return dict(registry.for_model(model).tally.counts)


def counted(before: dict[Event, int], *events: Event, model: type[Model] = Product) -> tuple[int, ...]:
    now = counts(model)
    return tuple(now[event] - before[event] for event in events)


@contextmanager
def broken(alias: str) -> Iterator[None]:
    """The database refuses every statement."""

    def refuse(*_: object) -> None:
        raise DatabaseError("the database is in trouble")

    with connections[alias].execute_wrapper(refuse):
        yield


@pytest.fixture
def row(db_alias: str, client: redis.Redis) -> int:
    """A row whose cached value is stale, and old: version 0, and 1 in the database."""
    pk = make(db_alias)
    version(pk, db_alias)
    outlive(client, entry_of(Product, pk, db_alias))
    behind_our_back(pk, db_alias, version=1)
    return pk


class TestCosts:
    def test_who_loads_pays_for_a_miss(self, count_round_trips: Count, row: int, db_alias: str) -> None:
        """Look, lease, fill, and one SELECT; and is served the new row."""
        before = counts()
        with count_round_trips() as costs:
            assert version(row, db_alias) == 1
        assert costs.round_trips == 3
        assert len(costs.sql) == costs.selects == 1
        assert counted(before, Event.STALE_HIT, Event.REFRESH, Event.MISS) == (1, 1, 0)
        with count_round_trips() as costs:
            assert version(row, db_alias) == 1
        assert (costs.round_trips, costs.sql) == (1, [])

    @pytest.mark.usefixtures("no_second_try")
    def test_who_does_not_pays_for_a_hit(self, count_round_trips: Count, row: int, db_alias: str) -> None:
        with broken(db_alias):
            version(row, db_alias)
        before = counts()
        with count_round_trips() as costs:
            assert version(row, db_alias) == 0
        assert (costs.round_trips, costs.commands, costs.sql) == (1, {"mget": 1}, [])
        assert counted(before, Event.STALE_HIT, Event.HIT, Event.MISS) == (1, 0, 0)

    def test_a_model_that_serves_nothing_stale_keeps_nothing_longer(self, db_alias: str, client: redis.Redis) -> None:
        pk = make(db_alias)
        version(pk, db_alias)
        kept_ms = int(client.pttl(entry_of(Product, pk, db_alias)))
        assert kept_ms > 1000 * STALE_S
        with override_settings(CACHEASIDE={"CACHE": "default"}):
            Product.objects.using(db_alias).filter(pk=pk).update(version=1)
            version(pk, db_alias)
            assert int(client.pttl(entry_of(Product, pk, db_alias))) <= 330_000

    def test_a_batch_loads_what_is_missing_and_what_is_stale(
        self, db_alias: str, client: redis.Redis, count_round_trips: Count
    ) -> None:
        """Fresh, stale, missing and unknown rows at once: each comes out as if it had been alone."""
        pks = [row.pk for row in Product.objects.using(db_alias).bulk_create([Product() for _ in range(9)])]
        fresh, stale, absent = pks[:3], pks[3:6], [pks[-1] + 10**6]
        Product.cached.using(db_alias).in_bulk([*fresh, *stale])
        outlive(client, *(entry_of(Product, pk, db_alias) for pk in stale))
        for pk in pks:
            behind_our_back(pk, db_alias, version=1)
        before = counts()
        with count_round_trips() as costs:
            found = Product.cached.using(db_alias).in_bulk([*pks, *absent])
        assert [found[pk].version for pk in pks] == [0] * 3 + [1] * 6
        assert absent[0] not in found
        assert (costs.round_trips, costs.selects) == (5, 2)
        told = (Event.HIT, Event.STALE_HIT, Event.MISS, Event.REFRESH, Event.FILL)
        assert counted(before, *told) == (3, 3, 4, 3, 7)
        with count_round_trips() as costs:
            again = Product.cached.using(db_alias).in_bulk(pks)
        assert (costs.round_trips, costs.sql) == (1, [])
        assert [again[pk].version for pk in pks] == [0] * 3 + [1] * 6

    def test_knowledge_that_a_row_is_missing_is_never_stale(self, db_alias: str, client: redis.Redis) -> None:
        absent = make(db_alias) + 10**6
        with pytest.raises(Product.DoesNotExist):
            version(absent, db_alias)
        entry = entry_of(Product, absent, db_alias)
        assert 0 < int(client.pttl(entry)) <= 11_000, "its life, without the time for which values are stale"
        client.setrange(entry, FRESH_UNTIL.start, bytes(8))
        before = counts()
        with pytest.raises(Product.DoesNotExist):
            version(absent, db_alias)
        assert counted(before, Event.NEGATIVE_HIT, Event.STALE_HIT, Event.LOAD) == (1, 0, 0)


class TestTrouble:
    @pytest.mark.usefixtures("no_second_try")
    def test_the_old_value_is_served_if_the_load_fails(self, row: int, db_alias: str) -> None:
        before = counts()
        with broken(db_alias):
            assert [version(row, db_alias) for _ in range(3)] == [0, 0, 0]
            assert Product.cached.using(db_alias).in_bulk([row])[row].version == 0
        assert counted(before, Event.STALE_HIT, Event.FAILED_REFRESH) == (4, 1), "one try, and then it rests"

    def test_and_tried_again_after_its_rest(self, row: int, db_alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(refresh, "REST_S", 0.0)
        with broken(db_alias):
            assert version(row, db_alias) == 0
        assert version(row, db_alias) == 1

    @pytest.mark.usefixtures("no_second_try")
    def test_until_its_time_is_over(self, row: int, db_alias: str, client: redis.Redis) -> None:
        client.pexpire(entry_of(Product, row, db_alias), 1)
        while client.exists(entry_of(Product, row, db_alias)):
            pass
        with broken(db_alias), pytest.raises(DatabaseError):
            version(row, db_alias)

    def test_in_a_transaction_the_error_is_its_own(self, row: int, db_alias: str) -> None:
        """It may be broken now. SQLite reads the database there anyway."""
        with broken(db_alias), pytest.raises(DatabaseError):  # noqa: SIM117
            with transaction.atomic(using=db_alias):
                version(row, db_alias)
        with transaction.atomic(using=db_alias):
            assert version(row, db_alias) in (0, 1)

    def test_a_transaction_loads_it_as_others_do(self, row: int, db_alias: str) -> None:
        with transaction.atomic(using=db_alias):
            assert version(row, db_alias) == 1
        assert version(row, db_alias) == 1

    def test_one_that_has_written_loads_nothing(self, row: int, db_alias: str) -> None:
        """What it would load, nobody else may see yet."""
        before = counts()
        with transaction.atomic(using=db_alias):
            make(db_alias)
            assert version(row, db_alias) == (0 if connections[db_alias].vendor == "postgresql" else 1)
        assert counted(before, Event.REFRESH, Event.FILL) == (0, 0)
        assert version(row, db_alias) == 1


def save(pk: int, db: str) -> None:
    row = Product.objects.using(db).get(pk=pk)
    row.version = 2
    row.save()


def update_by_pk(pk: int, db: str) -> None:
    Product.objects.using(db).filter(pk=pk).update(version=2)


def update_by_condition(pk: int, db: str) -> None:
    Product.objects.using(db).filter(version__gte=0).update(version=2)


def in_a_transaction(pk: int, db: str) -> None:
    with transaction.atomic(using=db):
        update_by_pk(pk, db)


def by_raw_sql(pk: int, db: str) -> None:
    with connections[db].cursor() as cursor:
        cursor.execute("UPDATE app_product SET version = 2 WHERE id = %s", [pk])


def told_by_hand(pk: int, db: str) -> None:
    behind_our_back(pk, db, version=2)
    invalidate(Product, pk, using=db)


def all_told_by_hand(pk: int, db: str) -> None:
    behind_our_back(pk, db, version=2)
    invalidate(Product, using=db)


def flushed(pk: int, db: str) -> None:
    behind_our_back(pk, db, version=2)
    call_command("cacheaside", "flush", "app.Product", database=db, verbosity=0)


WRITES: list[Callable[[int, str], None]] = [
    save,
    update_by_pk,
    update_by_condition,
    in_a_transaction,
    by_raw_sql,
    told_by_hand,
    all_told_by_hand,
    flushed,
]


@pytest.mark.usefixtures("no_second_try")
class TestWhatWasInvalidated:
    """Nobody may load the row again here, so that an old value would be seen."""

    def read_after(self, write: Callable[[int, str], None], pk: int, db: str) -> None:
        with broken(db):
            assert version(pk, db) == 0
        write(pk, db)
        assert version(pk, db) == 2

    @pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
    def test_is_never_served(self, write: Callable[[int, str], None], row: int, db_alias: str) -> None:
        self.read_after(write, row, db_alias)

    @pytest.mark.parametrize("write", [save, update_by_condition, in_a_transaction], ids=lambda write: write.__name__)
    @pytest.mark.parametrize("mutant", [mutants.no_invalidation], ids=lambda mutant: mutant.__name__)
    def test_is_served_if_nobody_is_told(
        self, write: Callable[[int, str], None], mutant: Mutant, row: int, db_alias: str
    ) -> None:
        """The test above can fail."""
        with mutant(), pytest.raises(AssertionError, match="assert 0 == 2"):
            self.read_after(write, row, db_alias)

    def test_nor_is_a_row_that_was_deleted(self, row: int, db_alias: str) -> None:
        with broken(db_alias):
            assert version(row, db_alias) == 0
        Product.objects.using(db_alias).filter(pk=row).delete()
        with pytest.raises(Product.DoesNotExist):
            version(row, db_alias)

    def test_while_a_commit_is_open_the_database_is_read(self, row: int, db_alias: str) -> None:
        with broken(db_alias):
            assert version(row, db_alias) == 0
        current = runtime.current()
        place = current.place(registry.for_model(Product), connections[db_alias])
        writes, token = Writes(), new_token()
        writes.add_rows(place.space, [str(row)])
        current.store.place_intents(writes, token, intent_ms=30_000)
        assert version(row, db_alias) == 1
        current.store.release(writes, token)

    def test_a_write_that_is_rolled_back_leaves_it(self, row: int, db_alias: str) -> None:
        with broken(db_alias):
            assert version(row, db_alias) == 0
        with transaction.atomic(using=db_alias):
            update_by_pk(row, db_alias)
            transaction.set_rollback(True, using=db_alias)
        assert version(row, db_alias) == 0


class TestDeclaredKeys:
    def index(self, alias: str, name: str) -> IndexSource:
        place = runtime.current().place(registry.for_model(Gadget), connections[alias])
        (source,) = [one.source for one in place.indexes if one.source is not None and name in one.source.key.attnames]
        return source

    def stale_entry(self, client: redis.Redis, alias: str, name: str, *values: object) -> None:
        source = self.index(alias, name)
        outlive(client, source.space.entry(source.ident(values)))

    def test_a_unique_key_is_loaded_again(self, db_alias: str, client: redis.Redis, count_round_trips: Count) -> None:
        gadget = Gadget.objects.using(db_alias).create(sku="stale", slug=f"stale-{db_alias}")
        read = Gadget.cached.using(db_alias).get
        read(slug=gadget.slug)
        read(slug=gadget.slug)
        self.stale_entry(client, db_alias, "slug", gadget.slug)
        before = counts(Gadget)
        assert read(slug=gadget.slug).pk == gadget.pk
        assert counted(before, Event.STALE_HIT, Event.REFRESH, model=Gadget) == (1, 1)
        with count_round_trips() as costs:
            assert read(slug=gadget.slug).pk == gadget.pk
        assert (costs.round_trips, costs.sql) == (2, [])

    def test_one_whose_row_is_gone_says_so(self, db_alias: str, client: redis.Redis) -> None:
        slug = f"gone-{db_alias}"
        gadget = Gadget.objects.using(db_alias).create(sku="gone", slug=slug)
        read = Gadget.cached.using(db_alias).get
        for _ in range(2):
            read(slug=slug)
        self.stale_entry(client, db_alias, "slug", slug)
        mark = "?" if connections[db_alias].vendor == "sqlite" else "%s"
        connections[db_alias].connection.execute(f"DELETE FROM app_gadget WHERE id = {mark}", [gadget.pk])
        for _ in range(2):
            with pytest.raises(Gadget.DoesNotExist):
                read(slug=slug)

    @pytest.mark.usefixtures("no_second_try")
    def test_a_stale_one_is_put_to_its_row(self, db_alias: str, client: redis.Redis) -> None:
        """An entry says which rows to look at, never more: one that has left is found out, stale or not."""
        slug = f"moved-{db_alias}"
        gadget = Gadget.objects.using(db_alias).create(sku="moved", slug=slug)
        read = Gadget.cached.using(db_alias).get
        for _ in range(2):
            read(slug=slug)
        self.stale_entry(client, db_alias, "slug", slug)
        with broken(db_alias):
            assert read(slug=slug).pk == gadget.pk
        Gadget.objects.using(db_alias).filter(pk=gadget.pk).update(slug=slug + "-on")
        with pytest.raises(Gadget.DoesNotExist):
            read(slug=slug)
        assert read(slug=slug + "-on").pk == gadget.pk

    def test_a_listing_is_loaded_again(self, db_alias: str, client: redis.Redis) -> None:
        section = Section.objects.using(db_alias).create()
        make = Gadget.objects.using(db_alias).create
        pks = [make(sku=f"{section.pk}-{rank}", section=section, rank=rank).pk for rank in range(3)]

        def listed() -> list[int]:
            return [one.pk for one in Gadget.cached.using(db_alias).filter(section=section)]

        assert listed() == listed() == pks
        self.stale_entry(client, db_alias, "section_id", section.pk)
        before = counts(Gadget)
        assert listed() == pks
        assert counted(before, Event.STALE_HIT, Event.REFRESH, model=Gadget) == (1, 1)
        before = counts(Gadget)
        assert listed() == pks
        assert counted(before, Event.STALE_HIT, Event.LOAD, model=Gadget) == (0, 0)

    @pytest.mark.usefixtures("no_second_try")
    def test_a_listing_that_was_written_to_is_never_served_stale(self, db_alias: str, client: redis.Redis) -> None:
        section = Section.objects.using(db_alias).create()
        make = Gadget.objects.using(db_alias).create
        pks = [make(sku=f"w{section.pk}-{rank}", section=section, rank=rank).pk for rank in range(2)]

        def listed() -> list[int]:
            return [one.pk for one in Gadget.cached.using(db_alias).filter(section=section)]

        assert listed() == listed() == pks
        self.stale_entry(client, db_alias, "section_id", section.pk)
        with broken(db_alias):
            assert listed() == pks
        pks.append(make(sku=f"w{section.pk}-2", section=section, rank=2).pk)
        assert listed() == pks


class TestClock:
    """Until when a value is fresh, its server's clock says; a process is told that one when it connects."""

    def test_a_server_that_is_ahead(self, db_alias: str) -> None:
        pk = make(db_alias)
        version(pk, db_alias)
        runtime.current().store._pool.ahead_ms += 400_000
        before = counts()
        version(pk, db_alias)
        assert counted(before, Event.STALE_HIT, Event.HIT) == (1, 0)

    def test_a_server_that_is_behind(self, db_alias: str, client: redis.Redis) -> None:
        """What is fresh by its clock is fresh, though ours says that it is not."""
        pk = make(db_alias)
        version(pk, db_alias)
        seconds, micros = client.time()
        soon_ms = seconds * 1000 + micros // 1000 - 200_000
        client.setrange(entry_of(Product, pk, db_alias), FRESH_UNTIL.start, soon_ms.to_bytes(8, "big"))
        runtime.current().store._pool.ahead_ms -= 400_000
        before = counts()
        version(pk, db_alias)
        assert counted(before, Event.STALE_HIT, Event.HIT) == (0, 1)

    def test_is_learnt_from_the_server(self, db_alias: str, client: redis.Redis) -> None:
        version(make(db_alias), db_alias)
        seconds, micros = client.time()
        assert abs(runtime.current().store.now_ms() - (seconds * 1000 + micros // 1000)) < 5000


class TestWarm:
    def test_loads_what_is_stale(self, row: int, db_alias: str, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("cacheaside", "warm", "app.Product", f"--after={row - 1}", database=db_alias)
        assert "1 filled" in capsys.readouterr().out
        with broken(db_alias):
            assert version(row, db_alias) == 1

    def test_a_dry_run_counts_it_and_leaves_it(
        self, row: int, db_alias: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call_command("cacheaside", "warm", "app.Product", f"--after={row - 1}", "--dry-run", database=db_alias)
        assert "1 rows, 1 to fill, 0 cached already" in capsys.readouterr().out

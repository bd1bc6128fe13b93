"""What a read and a write cost: round trips to the server, its commands, and SQL statements."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F

from django_cacheaside.orm import runtime
from tests.app.models import Plain, Product
from tests.orm.costs import Count


def make(alias: str, **fields: Any) -> int:
    return int(Product.objects.using(alias).create(**fields).pk)


def make_many(alias: str, number: int = 100) -> list[int]:
    return [row.pk for row in Product.objects.using(alias).bulk_create([Product() for _ in range(number)])]


def read(pk: int, alias: str) -> Product:
    found: Product = Product.cached.using(alias).get(pk=pk)
    return found


class TestReads:
    def test_a_hit_is_one_command_and_no_sql(self, count_round_trips: Count, db_alias: str) -> None:
        pk = make(db_alias)
        read(pk, db_alias)
        with count_round_trips() as costs:
            read(pk, db_alias)
        assert costs.round_trips == 1
        assert costs.commands == {"mget": 1}
        assert costs.sql == []

    def test_a_negative_hit_too(self, count_round_trips: Count, db_alias: str) -> None:
        absent = make(db_alias) + 1_000_000
        with pytest.raises(Product.DoesNotExist):
            read(absent, db_alias)
        with count_round_trips() as costs, pytest.raises(Product.DoesNotExist):
            read(absent, db_alias)
        assert costs.round_trips == 1
        assert costs.commands == {"mget": 1}
        assert costs.sql == []

    def test_a_miss_is_three_round_trips_and_one_select(self, count_round_trips: Count, db_alias: str) -> None:
        """Look, lease, fill."""
        pk = make(db_alias)
        with count_round_trips() as costs:
            read(pk, db_alias)
        assert costs.round_trips == 3
        assert (costs.commands["mget"], costs.commands["evalsha"]) == (1, 2)
        assert len(costs.sql) == costs.selects == 1

    def test_so_are_a_hundred(self, count_round_trips: Count, db_alias: str) -> None:
        pks = make_many(db_alias)
        with count_round_trips() as costs:
            assert list(Product.cached.using(db_alias).in_bulk(pks)) == pks
        assert costs.round_trips == 3
        assert (costs.commands["mget"], costs.commands["evalsha"]) == (1, 2)
        assert len(costs.sql) == costs.selects == 1

    def test_a_hundred_hits_are_one_mget(self, count_round_trips: Count, db_alias: str) -> None:
        pks = make_many(db_alias)
        Product.cached.using(db_alias).in_bulk(pks)
        with count_round_trips() as costs:
            assert len(Product.cached.using(db_alias).in_bulk(pks)) == 100
        assert costs.round_trips == 1
        assert costs.commands == {"mget": 1}
        assert costs.sql == []

    def test_what_is_missing_from_a_batch_is_a_miss_of_its_own(self, count_round_trips: Count, db_alias: str) -> None:
        """Ninety hits and ten misses cost what ten misses cost, and only the ten are loaded."""
        pks = make_many(db_alias)
        Product.cached.using(db_alias).in_bulk(pks[:90])
        with count_round_trips() as costs:
            assert len(Product.cached.using(db_alias).in_bulk(pks)) == 100
        assert costs.round_trips == 3
        assert len(costs.sql) == 1
        asked = re.search(r" IN \((.*)\)$", costs.sql[0])
        assert asked is not None
        assert len(asked[1].split(",")) == 10


class TestWrites:
    def test_in_autocommit_two_round_trips(self, count_round_trips: Count, db_alias: str) -> None:
        """Intent and release around the statement; no BEGIN."""
        pk = make(db_alias)
        with count_round_trips() as costs:
            Product.objects.using(db_alias).filter(pk=pk).update(version=F("version") + 1)
        assert costs.round_trips == 2
        assert costs.commands["evalsha"] == 2
        assert len(costs.sql) == 1

    def test_an_insert_whose_key_the_database_gives_too(self, count_round_trips: Count, db_alias: str) -> None:
        """In a transaction of its own: the key must be voided before COMMIT, and is known only after the INSERT."""
        with count_round_trips() as costs:
            make(db_alias)
        assert costs.round_trips == 2
        assert {statement.split()[0] for statement in costs.sql} == {"BEGIN", "INSERT", "COMMIT"}

    def test_a_write_to_the_whole_model_too(self, count_round_trips: Count, db_alias: str) -> None:
        with count_round_trips() as costs:
            Product.objects.using(db_alias).filter(version__gte=0).update(version=F("version") + 1)
        assert costs.round_trips == 2
        assert costs.commands["evalsha"] == 2
        assert len(costs.sql) == 1

    @pytest.mark.parametrize("saves", [1, 50])
    def test_a_transaction_costs_two_however_many_saves(
        self, count_round_trips: Count, db_alias: str, saves: int
    ) -> None:
        rows = [read(pk, db_alias) for pk in make_many(db_alias, saves)]
        with count_round_trips() as costs, transaction.atomic(using=db_alias):
            for row in rows:
                row.save()
        assert costs.round_trips == 2
        assert costs.commands["evalsha"] == 2

    def test_and_however_many_savepoints(self, count_round_trips: Count, db_alias: str) -> None:
        """Releasing one commits nothing."""
        pk = make(db_alias)
        with count_round_trips() as costs, transaction.atomic(using=db_alias):
            for _ in range(3):
                with transaction.atomic(using=db_alias):
                    Product.objects.using(db_alias).filter(pk=pk).update(version=F("version") + 1)
        assert costs.round_trips == 2
        assert costs.commands["evalsha"] == 2

    def test_and_however_many_models(self, count_round_trips: Count, db_alias: str) -> None:
        pk = make(db_alias)
        with count_round_trips() as costs, transaction.atomic(using=db_alias):
            Product.objects.using(db_alias).filter(pk=pk).update(version=1)
            Product.objects.using(db_alias).filter(version__lt=0).update(version=1)
        assert costs.round_trips == 2

    @pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
    def test_what_nobody_caches_costs_nothing(
        self, count_round_trips: Count, db_alias: str, *, is_atomic: bool
    ) -> None:
        with count_round_trips() as costs:
            if is_atomic:
                with transaction.atomic(using=db_alias):
                    Plain.objects.using(db_alias).create(name="a")
            else:
                Plain.objects.using(db_alias).create(name="a")
        assert costs.round_trips == 0
        assert costs.commands == {}

    def test_a_rollback_costs_nothing(self, count_round_trips: Count, db_alias: str) -> None:
        pk = make(db_alias)
        with count_round_trips() as costs, transaction.atomic(using=db_alias):
            Product.objects.using(db_alias).filter(pk=pk).update(version=1)
            transaction.set_rollback(True, using=db_alias)
        assert costs.round_trips == 0


class TestConnections:
    def test_a_new_one_learns_the_server_s_run_id(self, count_round_trips: Count, db_alias: str) -> None:
        """One INFO, once."""
        pk = make(db_alias)
        read(pk, db_alias)
        with count_round_trips() as costs:
            runtime.current().store.close()
            read(pk, db_alias)
        assert costs.commands["info"] == 1
        with count_round_trips() as costs:
            read(pk, db_alias)
        assert costs.commands == {"mget": 1}

"""What only MySQL and MariaDB do. Runs where ``CACHEASIDE_TEST_MYSQL_HOST`` names a server."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.db import connections, transaction

from tests.app.catalog import Country
from tests.app.models import Plain, Product
from tests.orm.world import Elsewhere, name

DB = "mysql"
TABLE = Plain._meta.db_table

pytestmark = [
    pytest.mark.skipif(DB not in settings.DATABASES, reason="no MySQL: set CACHEASIDE_TEST_MYSQL_HOST"),
    pytest.mark.usefixtures("databases"),
]


def seen_and_there(pk: Any) -> tuple[int, int]:
    """The version that a reader sees, and the database's."""
    return Product.cached.using(DB).get(pk=pk).version, Product.objects.using(DB).get(pk=pk).version


class TestImplicitCommits:
    @pytest.mark.parametrize(
        "statement",
        [
            "BEGIN",
            "START TRANSACTION",
            "SET autocommit = 1",
            "CREATE TABLE cacheaside_x (id int)",
            "DROP TABLE IF EXISTS cacheaside_x",
            f"ALTER TABLE {TABLE} COMMENT 'x'",
            f"TRUNCATE TABLE {TABLE}",
            f"RENAME TABLE {TABLE} TO cacheaside_y, cacheaside_y TO {TABLE}",
            f"LOCK TABLES {TABLE} READ",
            f"ANALYZE TABLE {TABLE}",
            "FLUSH TABLES",
        ],
    )
    def test_are_commits(self, elsewhere: Elsewhere, statement: str) -> None:
        """What was written before is committed by them, and nobody sees the old row any more."""
        pk = Product.objects.using(DB).create(version=0).pk
        for _ in range(2):
            assert elsewhere(seen_and_there, pk) == (0, 0)
        with transaction.atomic(using=DB):
            Product.objects.using(DB).filter(pk=pk).update(version=1)
            with connections[DB].cursor() as cursor:
                cursor.execute(statement)
            for _ in range(2):
                assert elsewhere(seen_and_there, pk) == (1, 1)
            if statement.startswith("LOCK"):
                with connections[DB].cursor() as cursor:
                    cursor.execute("UNLOCK TABLES")
            Product.objects.using(DB).filter(pk=pk).update(version=2)
        for _ in range(2):
            assert elsewhere(seen_and_there, pk) == (2, 2)


class TestCollations:
    def test_a_text_that_finds_a_row_of_another_spelling_is_not_cached(self) -> None:
        """A write by one spelling would not void the entry of the other."""
        code = name()
        Country.objects.using(DB).create(code=code, name="old")
        assert Country.cached.using(DB).get(pk=code.upper()).name == "old"
        Country.objects.using(DB).filter(pk=code.upper()).update(name="new")
        assert Country.cached.using(DB).get(pk=code).name == "new"

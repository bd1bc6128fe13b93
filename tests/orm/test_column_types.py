"""Columns by which the database holds values to be equal that Python does not: what a row is found by, Django says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from django.db import connections
from django.db.models import Model, QuerySet

from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from django_cacheaside.orm.written import WrittenRows
from django_cacheaside.store.writes import Writes
from tests.app.keyed import Legacy, Uncased, UncasedField, UncasedKey
from tests.orm.world import Server

_numbers = count(1)


def text() -> str:
    return f"n{next(_numbers)}"


def as_other(db: str, text: str) -> str:
    """Another spelling that the database holds to be equal: SQLite's columns have no case, PostgreSQL's are padded."""
    return text.upper() if db == "sqlite" else text.ljust(12)


def rows(model: type[Model], db: str) -> QuerySet[Any]:
    """As the database gives them."""
    return QuerySet(model).using(db)


class TestTypesOfCustomFields:
    """A field's own ``db_type`` is seen: nothing is filled by such a column."""

    def test_a_row_is_found_by_each_spelling_of_its_primary_key(self, db_alias: str) -> None:
        code = text()
        other = as_other(db_alias, code)
        for _ in range(2):
            with pytest.raises(UncasedKey.DoesNotExist):
                UncasedKey.cached.using(db_alias).get(pk=other)
        row = UncasedKey(code=code)
        row.save(using=db_alias)
        for _ in range(2):
            for one in (code, other):
                found = UncasedKey.cached.using(db_alias).get(pk=one)
                assert found == rows(UncasedKey, db_alias).get(pk=one)
                assert found.code.rstrip() == code

    def test_a_further_condition_is_the_database_s(self, db_alias: str) -> None:
        code = text()
        row = rows(Uncased, db_alias).create(code=code)
        for one in (code, as_other(db_alias, code)):
            for _ in range(2):
                assert list(Uncased.cached.using(db_alias).filter(pk=row.pk, code=one)) == [row]


@pytest.fixture
def legacy(db_alias: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A table that was there before its model, whose plain fields don't say what its columns are."""
    connection = connections[db_alias]
    with monkeypatch.context() as patch:
        for name in ("code", "name", "size"):
            patch.setattr(Legacy._meta.get_field(name), "db_type", UncasedField().db_type, raising=False)
        with connection.schema_editor() as editor:
            editor.delete_model(Legacy)
            editor.create_model(Legacy)
    yield db_alias
    with connection.schema_editor() as editor:
        editor.delete_model(Legacy)
        editor.create_model(Legacy)


class TestTypesThatNobodyTold:
    """A SELECT that gives a row which nobody asked for shows it: then nothing is known to be missing."""

    def make(self, db: str, **values: Any) -> Legacy:
        row: Legacy = rows(Legacy, db).create(**{"code": text(), "name": text(), **values})
        return row

    def test_by_primary_key(self, legacy: str, server: Server) -> None:
        row = self.make(legacy)
        other = as_other(legacy, row.code)
        for _ in range(2):
            assert Legacy.cached.using(legacy).get(pk=other).name.rstrip() == row.name
            assert list(Legacy.cached.using(legacy).filter(pk=other)) == list(rows(Legacy, legacy).filter(pk=other))

    def test_many_by_primary_key(self, legacy: str) -> None:
        row, beside = self.make(legacy), self.make(legacy)
        asked = [as_other(legacy, row.code), beside.code, text()]
        for _ in range(2):
            assert Legacy.cached.using(legacy).in_bulk(asked) == rows(Legacy, legacy).in_bulk(asked)
            assert len(Legacy.cached.using(legacy).in_bulk(asked)) == 2

    def test_by_a_unique_key(self, legacy: str) -> None:
        row = self.make(legacy)
        other = as_other(legacy, row.name)
        for _ in range(2):
            assert Legacy.cached.using(legacy).get(name=other).code.rstrip() == row.code

    def test_many_by_a_unique_key(self, legacy: str) -> None:
        row, beside = self.make(legacy), self.make(legacy)
        asked = [as_other(legacy, row.name), beside.name, text()]
        for _ in range(2):
            found = Legacy.cached.using(legacy).in_bulk(asked, field_name="name")
            assert found == rows(Legacy, legacy).in_bulk(asked, field_name="name")
            assert len(found) == 2

    def test_of_a_listing(self, legacy: str) -> None:
        """Rows of another spelling would go out of it unseen: no write of theirs voids it."""
        size = text()
        other = as_other(legacy, size)
        first, _ = self.make(legacy, size=size), self.make(legacy, size=other)
        for _ in range(2):
            for one in (size, other):
                assert len(Legacy.cached.using(legacy).filter(size=one)) == 2
        rows(Legacy, legacy).filter(pk=first.pk).update(size="none")
        assert len(Legacy.cached.using(legacy).filter(size=size)) == 1

    def test_rows_loaded_again_after_a_write_are_left(self, legacy: str) -> None:
        """``on_write = "refresh"`` of a row that is not cached is no failure."""
        current = runtime.current()
        source = current.place(registry.for_model(Legacy), connections[legacy]).source
        assert source is not None

        def now(task: Callable[[], object]) -> bool:
            task()
            return True

        written = WrittenRows(current.fetcher, current.invalidator.breaker, now)
        written.watch(source)
        writes = Writes()
        writes.add_rows(source.space, [source.ident(as_other(legacy, self.make(legacy).code))])
        written.load_again(writes)
        written.load_again(writes)

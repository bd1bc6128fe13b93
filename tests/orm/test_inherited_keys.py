"""Declared keys over a parent's columns, in each way in which a child's row comes about, and goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from django.db.models import QuerySet

from tests.app.keyed import Box, Champion, Movable, Ranked, Ranking
from tests.orm.costs import Count
from tests.orm.world import Elsewhere

_numbers = count(1)
Add = Callable[[Ranked], object]


def add_raw(parent: Ranked) -> None:
    """As fixtures do: of the child's own table alone."""
    Ranking(ranked_ptr_id=parent.pk).save_base(raw=True, using=parent._state.db)


def add_in_transaction(parent: Ranked) -> None:
    with transaction.atomic(using=parent._state.db):
        add_raw(parent)


def add_by_sql(parent: Ranked) -> None:
    with connections[parent._state.db].cursor() as cursor:
        cursor.execute("INSERT INTO app_ranking (ranked_ptr_id, team) VALUES (%s, 0)", [parent.pk])


def add_by_query(parent: Ranked) -> None:
    with connections[parent._state.db].cursor() as cursor:
        cursor.execute(
            "INSERT INTO app_ranking (ranked_ptr_id, team) SELECT id, 0 FROM app_ranked WHERE id = %s", [parent.pk]
        )


def add_whole(parent: Ranked) -> None:
    """Django updates the parent's row, and inserts the child's."""
    Ranking(ranked_ptr=parent, code=parent.code, level=parent.level).save(using=parent._state.db)


WAYS: tuple[Add, ...] = (add_raw, add_in_transaction, add_by_sql, add_by_query, add_whole)


@pytest.fixture
def parent(db_alias: str) -> Ranked:
    """A row that has no child yet; all keys of the child know that."""
    number = next(_numbers)
    parent = QuerySet(Ranked).using(db_alias).create(code=f"inherited {number}", level=number + 500)
    for _ in range(2):
        assert found(Ranking, parent) == [[], []]
    return parent


def found(model: Any, parent: Ranked) -> list[list[Any]]:
    cached = model.cached.using(parent._state.db)
    return [list(cached.filter(code=parent.code)), list(cached.filter(level=parent.level))]


def said(model: Any, parent: Ranked) -> list[list[Any]]:
    rows = QuerySet(model).using(parent._state.db)
    return [list(rows.filter(code=parent.code)), list(rows.filter(level=parent.level))]


@pytest.mark.parametrize("add", WAYS, ids=[way.__name__ for way in WAYS])
def test_a_child_of_a_row_that_was_there_is_found(parent: Ranked, add: Add) -> None:
    add(parent)
    assert found(Ranking, parent) == said(Ranking, parent) != [[], []]


def test_a_fixture_of_the_child_alone(parent: Ranked, tmp_path: Path) -> None:
    path = tmp_path / "child.json"
    path.write_text(json.dumps([{"model": "app.ranking", "pk": parent.pk, "fields": {"team": 1}}]))
    call_command("loaddata", str(path), database=parent._state.db, verbosity=0)
    assert found(Ranking, parent) == said(Ranking, parent) != [[], []]


def test_a_child_that_went_and_comes_back(parent: Ranked) -> None:
    add_raw(parent)
    for _ in range(2):
        assert found(Ranking, parent) != [[], []]
    Ranking.objects.using(parent._state.db).get(pk=parent.pk).delete(keep_parents=True)
    for _ in range(2):
        assert found(Ranking, parent) == [[], []]
    add_raw(parent)
    assert found(Ranking, parent) == said(Ranking, parent) != [[], []]


def test_a_grandchild(parent: Ranked) -> None:
    """Of a row whose columns are two tables away."""
    add_raw(parent)
    for _ in range(2):
        assert found(Champion, parent) == [[], []]
    Champion(ranking_ptr_id=parent.pk, ranked_ptr_id=parent.pk).save_base(raw=True, using=parent._state.db)
    assert found(Champion, parent) == said(Champion, parent) != [[], []]


def test_a_grandchild_before_its_parent(parent: Ranked) -> None:
    """As fixtures may have them: foreign keys are checked at COMMIT, and the values are nowhere yet."""
    for _ in range(2):
        assert found(Champion, parent) == [[], []]
    with transaction.atomic(using=parent._state.db):
        Champion(ranking_ptr_id=parent.pk, ranked_ptr_id=parent.pk).save_base(raw=True, using=parent._state.db)
        add_raw(parent)
    assert found(Champion, parent) == said(Champion, parent) != [[], []]


def move_by_update(box: Box, parent: Ranked) -> None:
    QuerySet(Movable).using(parent._state.db).filter(pk=box.pk).update(ranked=parent)


def move_by_save(box: Box, parent: Ranked) -> None:
    """``save()`` would write the parent's row too."""
    movable = QuerySet(Movable).using(parent._state.db).get(pk=box.pk)
    movable.ranked_id = parent.pk
    movable.save_base(raw=True, using=parent._state.db)


def move_by_sql(box: Box, parent: Ranked) -> None:
    with connections[parent._state.db].cursor() as cursor:
        cursor.execute("UPDATE app_movable SET team = team, ranked_id = %s WHERE number = %s", [parent.pk, box.pk])


@pytest.mark.parametrize("move", [move_by_update, move_by_save, move_by_sql])
def test_a_child_that_is_moved_to_another_row(parent: Ranked, move: Callable[[Box, Ranked], None]) -> None:
    db = parent._state.db
    box = Box.objects.using(db).create(code=f"moved {next(_numbers)}", level=parent.level + 50_000)
    rows = (Movable, Box)
    for _ in range(2):
        for model in rows:
            assert list(model.cached.using(db).filter(level=parent.level)) == []
            assert [one.pk for one in model.cached.using(db).filter(level=box.level)] == [box.pk]
        assert list(Movable.cached.using(db).filter(code=parent.code)) == []
        assert list(Movable.cached.using(db).filter(level=parent.level, team=0)) == []
    move(box, parent)
    for model in rows:
        assert [one.pk for one in model.cached.using(db).filter(level=parent.level)] == [box.pk]
        assert list(model.cached.using(db).filter(level=box.level)) == []
        assert model.cached.using(db).get(pk=box.pk).code == parent.code
    assert [one.pk for one in Movable.cached.using(db).filter(code=parent.code)] == [box.pk]
    assert [one.pk for one in Movable.cached.using(db).filter(level=parent.level, team=0)] == [box.pk]


def test_a_child_whose_link_is_its_primary_key_is_moved(parent: Ranked) -> None:
    """To Django that is another row."""
    db, level = parent._state.db, parent.level + 50_000
    add_raw(parent)
    other = QuerySet(Ranked).using(db).create(code=f"moved to {next(_numbers)}", level=level)
    for _ in range(2):
        assert found(Ranking, parent) != [[], []] == found(Ranking, other)
        assert Ranking.cached.using(db).filter(pk=other.pk).first() is None
    QuerySet(Ranking).using(db).filter(pk=parent.pk).update(ranked_ptr=other)
    assert found(Ranking, parent) == [[], []]
    assert found(Ranking, other) == said(Ranking, other) != [[], []]
    assert Ranking.cached.using(db).get(pk=other.pk).level == level
    with pytest.raises(Ranking.DoesNotExist):
        Ranking.cached.using(db).get(pk=parent.pk)


class TestAParentThatChangesMeanwhile:
    """Between the child's INSERT and its COMMIT a reader may fill a listing of the new value, without the child."""

    def test_before_the_child_is_added(self, parent: Ranked, elsewhere: Elsewhere) -> None:
        """Its row is locked: whatever it will be, every key is voided."""
        db, level = only_postgresql(parent), parent.level + 50_000
        elsewhere(begin_to_change, parent, level)
        with transaction.atomic(using=db):
            add_raw(parent)
            elsewhere(commit, db)
            assert elsewhere(levels, db, level) == elsewhere(levels, db, level) == []
        assert levels(db, level) == [parent.pk]

    def test_after_the_child_is_added(self, parent: Ranked, elsewhere: Elsewhere) -> None:
        """It waits for the child's COMMIT."""
        db, level = only_postgresql(parent), parent.level + 50_000
        with transaction.atomic(using=db):
            add_raw(parent)
            with pytest.raises(OperationalError, match="lock timeout"):
                elsewhere(begin_to_change, parent, level)
        assert found(Ranking, parent) == said(Ranking, parent) != [[], []]


def only_postgresql(parent: Ranked) -> str:
    db: str = parent._state.db  # type: ignore[assignment]  # it was saved
    if connections[db].vendor == "sqlite":
        pytest.skip("SQLite lets one in at a time")
    return db


def begin_to_change(parent: Ranked, level: int) -> None:
    connection = connections[parent._state.db]
    connection.set_autocommit(False)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '100ms'")
        QuerySet(Ranked).using(connection.alias).filter(pk=parent.pk).update(level=level)
    except BaseException:
        connection.rollback()
        connection.set_autocommit(True)
        raise


def commit(db: str) -> None:
    connections[db].commit()
    connections[db].set_autocommit(True)


def levels(db: str, level: int) -> list[int]:
    return [one.pk for one in Ranking.cached.using(db).filter(level=level)]


def test_what_a_child_costs(db_alias: str, count_round_trips: Count) -> None:
    """A SELECT more for its parent's columns, where the model has keys of them."""
    number = next(_numbers)
    with count_round_trips() as costs:
        Ranking.objects.using(db_alias).create(code=f"costs {number}", level=number)
    assert (costs.round_trips, costs.selects) == (2, 1), costs.sql

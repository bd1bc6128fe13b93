"""Every way to write, executed for real: its keys are placed before COMMIT, and no reader sees the old row after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.db.models import QuerySet

from django_cacheaside.failpoints import armed
from django_cacheaside.orm.index.resolve import table_name
from django_cacheaside.orm.net.statement import read_statement
from tests.app.catalog import Article, Item
from tests.app.keyed import Dotted
from tests.orm.process import Process
from tests.orm.watch import Check, Undo
from tests.orm.world import Elsewhere, Server, in_cache, in_database, name, served
from tests.orm.writes import AUTOCOMMIT, COMMIT, RAW_FORMS, Form, cases, changed, raw


@pytest.mark.parametrize(("form", "db", "mode"), cases(RAW_FORMS))
def test_a_statement_tells_its_keys_and_is_seen_at_once(form: Form, db: str, mode: str, check: Check) -> None:
    """Those of the ORM are in ``test_writes``."""
    check(form, db, mode)


class TestNamesOfTables:
    @pytest.mark.parametrize(
        ("db_table", "expected"),
        [
            ("app_item", "app_item"),
            ("App_Item", "app_item"),
            ('"app_item"', "app_item"),
            ("my.table", "my.table"),
            ('"my.table"', "my.table"),
            ('shop"."item', "item"),
            ('"shop"."item"', "item"),
            ('shop"."my.table', "my.table"),
            ("shop`.`item", "item"),
        ],
    )
    def test_are_those_that_statements_say(self, db_table: str, expected: str) -> None:
        """Django quotes what does not begin and end with quotes, whatever is in it."""
        model: Any = SimpleNamespace(_meta=SimpleNamespace(db_table=db_table))
        assert table_name(model) == expected
        if "`" not in db_table:
            quoted = connections["default"].ops.quote_name(db_table)
            assert (read_statement(f"UPDATE {quoted} SET a = 1").table or "").lower() == expected

    def test_may_have_a_dot(self, db_alias: str) -> None:
        rows = Dotted.objects.using(db_alias)
        row = rows.create()
        for _ in range(2):
            assert Dotted.cached.using(db_alias).get(pk=row.pk).name == "old"
        rows.filter(pk=row.pk).update(name="new")
        assert Dotted.cached.using(db_alias).get(pk=row.pk).name == "new"
        with pytest.raises(Dotted.DoesNotExist):
            Dotted.cached.using(db_alias).get(pk=row.pk + 1)
        rows.bulk_create([Dotted(pk=row.pk + 1)])
        assert Dotted.cached.using(db_alias).get(pk=row.pk + 1).name == "old"


class TestReturning:
    """The net reads what RETURNING gives, and leaves it to whoever asked."""

    TEXT = "INSERT INTO app_article (stamp) VALUES (%s), (%s), (%s) RETURNING stamp, id"

    @pytest.mark.parametrize(
        ("fetch", "expected"),
        [
            pytest.param(lambda cursor: [cursor.fetchone(), cursor.fetchone()], "ab", id="fetchone"),
            pytest.param(lambda cursor: cursor.fetchmany(2), "ab", id="fetchmany"),
            pytest.param(lambda cursor: cursor.fetchmany(), "a", id="fetchmany-arraysize"),
            pytest.param(lambda cursor: cursor.fetchall(), "abc", id="fetchall"),
            pytest.param(lambda cursor: list(cursor), "abc", id="iteration"),
            pytest.param(lambda cursor: [cursor.fetchone(), *cursor.fetchall(), *cursor], "abc", id="to-the-end"),
            pytest.param(lambda cursor: iter(cursor.fetchone, None), "abc", id="to-none"),
            pytest.param(
                lambda cursor: [[len(cursor.fetchall())], cursor.description[0]], [3, "stamp"], id="attributes"
            ),
        ],
    )
    def test_gives_its_rows_as_without_us(self, db_alias: str, fetch: Callable[[Any], Any], expected: Any) -> None:
        with connections[db_alias].cursor() as cursor:
            cursor.execute(self.TEXT, list("abc"))
            assert [row[0] for row in fetch(cursor)] == list(expected)

    def test_leaves_the_cursor_to_the_next_statement(self, db_alias: str) -> None:
        with connections[db_alias].cursor() as cursor:
            cursor.execute(self.TEXT, list("abc"))
            cursor.execute("SELECT 1 UNION SELECT 2 ORDER BY 1")
            assert cursor.fetchall() == [(1,), (2,)]

    def test_of_one_cursor_a_thousand_times(self, db_alias: str) -> None:
        """Each statement's rows are replayed once: replays are not piled up."""
        with transaction.atomic(using=db_alias), connections[db_alias].cursor() as cursor:
            for number in range(1200):
                cursor.execute("INSERT INTO app_article (stamp) VALUES (%s) RETURNING id, stamp", [str(number)])
                assert cursor.fetchone()[1] == str(number)


@pytest.mark.parametrize("mode", [AUTOCOMMIT, COMMIT])
def test_a_write_that_fails_leaves_the_old_row(db_alias: str, mode: str, server: Server, elsewhere: Elsewhere) -> None:
    """The intent is released, for nothing was written."""
    item, other = (Item.objects.using(db_alias).create(name=name()) for _ in range(2))
    told = set()
    with (
        armed("after-intent", lambda: told.update(server.intents())),
        pytest.raises(IntegrityError),
        transaction.atomic(using=db_alias) if mode == COMMIT else nullcontext(),
    ):
        Item.objects.using(db_alias).filter(pk=item.pk).update(slug=other.slug)
    assert bool(told) == (mode == AUTOCOMMIT)
    assert server.intents() == set()
    assert elsewhere(in_cache, Item, db_alias, [item.pk]) == elsewhere(in_database, Item, db_alias, [item.pk])


def test_a_savepoint_rolled_back_costs_a_load_and_no_row(db_alias: str, server: Server, elsewhere: Elsewhere) -> None:
    """Its keys stay in the write set: they invalidate too much, never too little."""
    kept, undone = (Item.objects.using(db_alias).create(name=name()) for _ in range(2))
    told = set()
    with armed("after-intent", lambda: told.update(server.intents())), transaction.atomic(using=db_alias):
        changed(kept, name="new").save()
        with suppress(Undo), transaction.atomic(using=db_alias):
            changed(undone, name="new").save()
            raise Undo
        assert told == set()
        own = in_cache(Item, db_alias, [kept.pk, undone.pk])
        assert own == in_database(Item, db_alias, [kept.pk, undone.pk])
        assert own[undone.pk]["name"] != "new"
    assert {int(row) for _, _, row in told} == {kept.pk, undone.pk}
    rows = elsewhere(in_cache, Item, db_alias, [kept.pk, undone.pk])
    assert rows == elsewhere(in_database, Item, db_alias, [kept.pk, undone.pk])


def test_a_function_that_writes_is_invisible(databases: None, server: Server, elsewhere: Elsewhere) -> None:
    """Documented: no text tells it. The old row is served until its TTL."""
    item = Item.objects.using("default").create(name=name())
    told = set()
    update = f"UPDATE app_item SET name = 'new' WHERE id = {item.pk}"
    raw("default", f"CREATE FUNCTION renew_unseen() RETURNS void LANGUAGE sql AS $$ {update} $$")
    before = elsewhere(in_cache, Item, "default", [item.pk])
    with armed("after-intent", lambda: told.update(server.intents())):
        raw("default", "SELECT renew_unseen()")
    assert told == set()
    assert elsewhere(in_cache, Item, "default", [item.pk]) == before
    assert in_database(Item, "default", [item.pk]) != before
    raw("default", "DROP FUNCTION renew_unseen")


def test_a_savepoint_that_commits_ends_what_waits_for_a_commit(databases: None) -> None:
    """To SQLite RELEASE is then the COMMIT. No old row is served; but the writer's own reads go past the cache, and its
    keys are placed again, until some later transaction ends.
    """
    item = Item.objects.using("sqlite").create(name=name())
    with connections["sqlite"].cursor() as cursor:
        cursor.execute("SAVEPOINT a")
        cursor.execute("UPDATE app_item SET name = 'new' WHERE id = %s", [item.pk])
        cursor.execute("RELEASE a")
    try:
        served(Item._meta.label, "sqlite", [item.pk])
        assert served(Item._meta.label, "sqlite", [item.pk]).statements == 0
    finally:
        with transaction.atomic(using="sqlite"):
            pass


@pytest.mark.parametrize(
    "write", ["UPDATE item_view SET name = 'new' WHERE id = %s", "DELETE FROM item_view WHERE id = %s"]
)
def test_a_write_through_a_view_is_seen(databases: None, second_process: Process, write: str) -> None:
    """PostgreSQL's simple views can be written to. Neither told nor documented: an old row until its TTL."""
    item = Item.objects.using("default").create(name=name())
    raw("default", "CREATE VIEW item_view AS SELECT * FROM app_item")
    try:
        second_process(served, Item._meta.label, "default", [item.pk])
        raw("default", write, item.pk)
        rows = second_process(served, Item._meta.label, "default", [item.pk]).rows
        assert rows == in_database(Item, "default", [item.pk])
    finally:
        raw("default", "DROP VIEW item_view")


def test_a_write_to_a_table_below_is_seen(databases: None, second_process: Process) -> None:
    """PostgreSQL's partitions and inherited tables: a SELECT of the table above has their rows too."""
    row = QuerySet(Article).using("default")
    raw("default", "CREATE TABLE article_below () INHERITS (app_article)")
    try:
        raw("default", "INSERT INTO article_below (id, stamp) VALUES (-1, 'old')")
        second_process(served, Article._meta.label, "default", [-1])
        raw("default", "UPDATE article_below SET stamp = 'new' WHERE id = -1")
        assert row.get(pk=-1).stamp == "new"
        assert second_process(served, Article._meta.label, "default", [-1]).rows[-1]["stamp"] == "new"
    finally:
        raw("default", "DROP TABLE article_below")

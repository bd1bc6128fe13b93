"""What the execute wrapper adds to a statement: called as Django calls it, with an ``execute`` that does nothing.

Writes are timed inside a transaction, where their keys are only noted; the intents go out when it ends, after the timed
part. ``read_statement`` is the part of it that a text costs once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

from django.db import connections, transaction
from django.db.models import Field
from django.db.models.sql import InsertQuery

from benchmarks.ground import Ground, bare
from benchmarks.measure import Contender, Effort, in_turn
from benchmarks.models import Kept
from benchmarks.report import Figure, Target, timed
from benchmarks.servers import POSTGRESQL, SQLITE
from django_cacheaside.orm.net.statement import read_statement
from django_cacheaside.orm.net.wrapper import net_of

INSERTED = 5000
SELECT_TARGET, INSERT_TARGET = Target(3, of="time"), Target(1000, of="time")
PLACE_OF_NUMBER = '"stock" = %s'

Statement = tuple[str, Any]


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Measure it, with the texts that Django makes."""
    select = _sent(lambda: bare(Kept, SQLITE).get(pk=ground.pks[0]))
    update = _sent(bare(Kept, SQLITE).get(pk=ground.pks[0]).save)
    insert, insert_without_keys = _insert(with_keys=True), _insert(with_keys=False)
    texts = _never_the_same(update[0])
    atomic = partial(transaction.atomic, using=SQLITE)
    on_sqlite, on_postgresql = _wrapper(SQLITE), _wrapper(POSTGRESQL)
    timed_parts: list[tuple[Contender, Target | None]] = [
        (Contender("SELECT by pk, PostgreSQL", lambda: on_postgresql(*select), 5000), SELECT_TARGET),
        (Contender("SELECT by pk, SQLite", lambda: on_sqlite(*select), 5000), SELECT_TARGET),
        (Contender("UPDATE by pk", lambda: on_sqlite(*update), 2000, around=atomic), None),
        (Contender("UPDATE by pk, a new text", lambda: on_sqlite(next(texts), update[1]), 300, around=atomic), None),
        (
            Contender(f"INSERT of {INSERTED} rows with their pks", lambda: on_sqlite(*insert), 1, around=atomic),
            INSERT_TARGET,
        ),
        (
            Contender(
                f"INSERT of {INSERTED} rows, pks unknown", lambda: on_sqlite(*insert_without_keys), 1, around=atomic
            ),
            INSERT_TARGET,
        ),
        (Contender("read_statement of the SELECT", lambda: read_statement(select[0]), 5000), None),
        (Contender("read_statement of the UPDATE", lambda: read_statement(update[0]), 300), None),
        (Contender(f"read_statement of the INSERT of {INSERTED}", lambda: read_statement(insert[0]), 20), None),
    ]
    timings = in_turn([contender for contender, _ in timed_parts], effort)
    return [timed("net", timings, contender.name, target=target) for contender, target in timed_parts]


def _wrapper(alias: str) -> Callable[[str, Any], object]:
    """The net of a connection, around nothing."""
    connection = connections[alias]
    connection.ensure_connection()
    net, context = net_of(connection), {"connection": connection, "cursor": connection.cursor()}

    def call(sql: str, params: Any) -> object:
        return net(_do_nothing, sql, params, False, context)  # noqa: FBT003  Django's own

    return call


def _do_nothing(sql: str, params: Any, many: bool, context: dict[str, Any]) -> None:  # noqa: FBT001  Django's own
    pass


def _sent(run: Callable[[], object]) -> Statement:
    """The one statement that ``run`` sends."""
    sent: list[Statement] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
        sent.append((sql, params))
        return execute(sql, params, many, context)

    with connections[SQLITE].execute_wrapper(note):
        run()
    ((sql, params),) = sent
    return sql, params


def _never_the_same(update: str) -> Iterator[str]:
    """Texts of one kind, none of which was there before."""
    assert PLACE_OF_NUMBER in update
    return (update.replace(PLACE_OF_NUMBER, f'"stock" = (%s + {number})') for number in count())


def _insert(*, with_keys: bool) -> Statement:
    """``bulk_create`` in one statement, as Django sends it where a database's number of parameters allows it."""
    fields: list[Field[Any, Any]] = [
        field for field in Kept._meta.concrete_fields if with_keys or not field.primary_key
    ]
    rows = list(bare(Kept, SQLITE).all())
    query = InsertQuery(Kept)
    query.insert_values(fields, [rows[at % len(rows)] for at in range(INSERTED)])
    ((sql, params),) = query.get_compiler(connection=connections[SQLITE]).as_sql()
    return sql, params

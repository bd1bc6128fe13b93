"""Before COMMIT, in the same transaction: note what the cache server could not be told of."""

from __future__ import annotations

import logging
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_cacheaside.failpoints import reach
from django_cacheaside.orm import runtime
from django_cacheaside.orm.databases import is_private
from django_cacheaside.orm.journal.payload import pack
from django_cacheaside.store.writes import Writes

logger = logging.getLogger("django_cacheaside")

_SAVEPOINT = "cacheaside_journal"


class LostInvalidationError(DatabaseError):
    """The cache server does not answer, and the journal takes no entry: the transaction was not committed.

    Others would serve the old rows for the TTL. Have ``manage.py migrate`` create the journal's table in the database,
    or say ``CACHEASIDE["ON_LOST_INVALIDATION"] = "ttl"``.
    """


def keep(connection: BaseDatabaseWrapper, writes: Writes, *, due_in_s: float | None = None) -> None:
    """Note a write set, before it is committed. What a database in memory held is gone with its process anyway.

    Raises:
        LostInvalidationError: It can't be noted, and ``ON_LOST_INVALIDATION`` is "raise".
    """
    if is_private(connection):
        return
    try:
        record(connection, writes, due_in_s=due_in_s)
    except DatabaseError as error:
        if runtime.current().settings.ON_LOST_INVALIDATION == "raise":
            raise LostInvalidationError(
                f"The cache server does not answer, and the journal of {connection.alias!r} takes no entry: {error} "
                f"Nothing was committed. Run manage.py migrate cacheaside --database={connection.alias}, or set "
                "CACHEASIDE['ON_LOST_INVALIDATION'] = 'ttl'."
            ) from error
        logger.error(
            "The journal of %r takes no entry: others may serve old rows for the TTL. %s", connection.alias, error
        )


def record(connection: BaseDatabaseWrapper, writes: Writes, *, due_in_s: float | None = None) -> None:
    """Add an entry to the open transaction. Three statements, past all wrappers; a failure leaves it as it was.

    Args:
        due_in_s: In autocommit, where it is committed before the write: it is not relayed for so many seconds. None in
            a transaction, with which it becomes visible.

    Raises:
        DatabaseError: There is no such table, or the database is at fault.
    """
    from django_cacheaside.orm.journal.table import JournalEntry  # models can't be imported before apps are loaded

    keys, spaces = pack(writes)
    now = timezone.now()
    due_at = None if due_in_s is None else now + timedelta(seconds=due_in_s)
    values = {"keys": keys, "spaces": spaces, "recorded_at": now, "due_at": due_at, "failure": ""}
    fields: list[Any] = [JournalEntry._meta.get_field(name) for name in values]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    sql = f"INSERT INTO {quote(JournalEntry._meta.db_table)} ({columns}) VALUES ({marks})"  # noqa: S608  our own names
    params = [field.get_db_prep_save(value, connection) for field, value in zip(fields, values.values(), strict=True)]
    backend: Any = connection
    with backend.wrap_database_errors, closing(backend.create_cursor()) as cursor:
        reach("before-journal")
        if due_in_s is not None:
            cursor.execute(sql, params)
        else:
            _execute_in_savepoint(connection, cursor, sql, params)
        reach("after-journal")


def _execute_in_savepoint(connection: BaseDatabaseWrapper, cursor: Any, sql: str, params: list[Any]) -> None:
    cursor.execute(connection.ops.savepoint_create_sql(_SAVEPOINT))
    try:
        cursor.execute(sql, params)
    except BaseException:
        with suppress(Exception):  # what failed first is what matters; a connection that is lost says so again
            cursor.execute(connection.ops.savepoint_rollback_sql(_SAVEPOINT))
            cursor.execute(connection.ops.savepoint_commit_sql(_SAVEPOINT))
        raise
    cursor.execute(connection.ops.savepoint_commit_sql(_SAVEPOINT))

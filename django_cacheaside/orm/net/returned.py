"""The primary keys that a database has just given to new rows, read without taking them from whoever asked for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from django_cacheaside.orm.net.statement import Statement
from django_cacheaside.orm.net.tables import Reader


class _Replay:
    """A driver's cursor whose rows were read already: gives them once more, and is the cursor itself otherwise."""

    def __init__(self, cursor: Any, rows: Sequence[Any]) -> None:
        self.driver_cursor = cursor
        self._rows: Iterator[Any] | None = iter(rows)

    def fetchone(self) -> Any:
        return self.driver_cursor.fetchone() if self._rows is None else next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        wanted = self.driver_cursor.arraysize if size is None else size
        return self.driver_cursor.fetchmany(wanted) if self._rows is None else list(islice(self._rows, wanted))

    def fetchall(self) -> list[Any]:
        return self.driver_cursor.fetchall() if self._rows is None else list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.driver_cursor) if self._rows is None else self._rows

    def execute(self, *args: Any) -> Any:
        self._rows = None
        return self.driver_cursor.execute(*args)

    def executemany(self, *args: Any) -> Any:
        self._rows = None
        return self.driver_cursor.executemany(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.driver_cursor, name)


def can_return(statement: Statement, reader: Reader, connection: BaseDatabaseWrapper) -> bool:
    """Will the database say which rows of ``reader`` an INSERT has written?

    RETURNING names rows as they are: not those that REPLACE drops, nor what a row was called before the conflict.
    """
    column = reader.pk_column
    if column is None:
        return False
    if statement.returning is not None:
        is_renamed = statement.overwrites and statement.may_assign(column)
        return column in statement.returning and "*" not in statement.returning and not is_renamed
    has_one_row = statement.rows is not None and not statement.rows.are_arrays and statement.rows.count == 1
    return has_one_row and reader.is_numbered and not statement.overwrites and connection.vendor in ("sqlite", "mysql")


def returned_values(statement: Statement, column: str, cursor: CursorWrapper) -> Sequence[object] | None:
    """The values of ``column`` in the rows that an INSERT has just made; None if it is not known after all.

    Call it where ``can_return``, once the statement has run and before anybody has fetched from its cursor.
    """
    if statement.returning is None:
        last = cursor.lastrowid if cursor.rowcount == 1 else None
        return [last] if isinstance(last, int) and last else None
    at = statement.returning.index(column)
    return [row[at] for row in finish(cursor)]


def with_returning(sql: str, statement: Statement, asked: Sequence[Reader]) -> str:
    """The text of an UPDATE or DELETE that says which rows it hit, in the order of ``asked``."""
    name = statement.name_for_returning
    columns = ", ".join(f'{name}."{reader.pk_column}"' for reader in asked)
    return f"{sql.rstrip().rstrip(';')}\nRETURNING {columns}"  # on a line of its own: the text may end in a comment


def returned_columns(asked: Sequence[Reader], cursor: CursorWrapper) -> dict[Reader, Sequence[object] | None]:
    """What a statement said of the rows it hit, asked ``with_returning``."""
    rows = finish(cursor)
    return {reader: [row[at] for row in rows] for at, reader in enumerate(asked)}


def finish(cursor: CursorWrapper) -> Sequence[Any]:
    """Read all rows of a cursor, and leave them to be read once more. To SQLite the statement ends only so."""
    rows: Sequence[Any] = cursor.fetchall()
    raw = cursor.cursor
    # a cursor that is executed again and again would otherwise be wrapped as often
    cursor.cursor = _Replay(raw.driver_cursor if isinstance(raw, _Replay) else raw, rows)
    return rows

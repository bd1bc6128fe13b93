"""COPY, streams, procedures and scripts: what a cursor can do past the execute wrappers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from django_cacheaside.orm.net.wrapper import net_of

Make = Callable[[Any], CursorWrapper]

_WATCHED = "_cacheaside_watches_cursors"


def watch_cursors(connection: BaseDatabaseWrapper) -> None:
    """Have the connection's cursors tell of what they do so. Idempotent."""
    if connection.__dict__.get(_WATCHED):
        return
    connection.__dict__[_WATCHED] = True
    worked: Any = connection
    watch = _scripts_watched if connection.vendor == "sqlite" else _copy_and_procedures_watched
    worked.make_cursor = watch(connection, connection.make_cursor)
    worked.make_debug_cursor = watch(connection, connection.make_debug_cursor)


def _scripts_watched(connection: BaseDatabaseWrapper, make: Make) -> Make:
    """SQLite's ``executescript`` commits what is open, and then each of its statements."""

    @wraps(make)
    def make_watched(raw: Any) -> CursorWrapper:
        cursor: Any = make(raw)

        def watched_script(script: str) -> Any:
            net = net_of(connection)
            plan = replace(net.plan(script + ";"), is_write=True, may_commit=True)
            return net.write(plan, (), lambda: raw.executescript(script), many=False, cursor=None)

        cursor.executescript = watched_script
        return cursor  # type: ignore[no-any-return]

    return make_watched


def _copy_and_procedures_watched(connection: BaseDatabaseWrapper, make: Make) -> Make:
    """A procedure may write anything; COPY and psycopg's ``stream`` pass by the execute wrappers."""

    @wraps(make)
    def make_watched(raw: Any) -> CursorWrapper:
        cursor: Any = make(raw)
        callproc = cursor.callproc

        @wraps(callproc)
        def watched_callproc(name: str, *args: Any, **kwargs: Any) -> Any:
            net = net_of(connection)
            return net.write(net.plan("CALL"), (), lambda: callproc(name, *args, **kwargs), many=False, cursor=None)

        @contextmanager
        def watched_copy(statement: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            with _noted(connection, statement), raw.copy(statement, *args, **kwargs) as copying:
                yield copying

        def watched_stream(statement: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            with _noted(connection, statement):
                yield from raw.stream(statement, *args, **kwargs)

        def watched_copy_expert(statement: Any, *args: Any, **kwargs: Any) -> Any:
            with _noted(connection, statement):
                return raw.copy_expert(statement, *args, **kwargs)

        def watched_copy_from(file: Any, table: str, *args: Any, **kwargs: Any) -> Any:
            with _noted(connection, f"COPY {table} FROM STDIN"):
                return raw.copy_from(file, table, *args, **kwargs)

        cursor.callproc = watched_callproc
        if hasattr(raw, "copy"):  # psycopg 3
            cursor.copy, cursor.stream = watched_copy, watched_stream
        if hasattr(raw, "copy_expert"):  # psycopg 2
            cursor.copy_expert, cursor.copy_from = watched_copy_expert, watched_copy_from
        return cursor  # type: ignore[no-any-return]

    return make_watched


@contextmanager
def _noted(connection: BaseDatabaseWrapper, statement: Any) -> Iterator[None]:
    """Note what a statement writes. Its rows are in the database when the block ends, and COMMIT comes after that."""
    net = net_of(connection)
    plan = net.plan(statement)
    if not plan.is_write:
        yield
        return
    with transaction.atomic(using=connection.alias):
        net.write(plan, (), lambda: None, many=False, cursor=None)
        yield

"""What we know of one database connection: what its open transaction has written, and what it sees.

The state hangs on the connection instance, so that it goes where the connection goes: no thread-locals.
"""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from django_cacheaside.engine.debts import Ticket
from django_cacheaside.store.writes import Writes

_ATTRIBUTE = "_cacheaside_state"


class ConnectionState:
    """Kept by the commit work and the net, read by whoever reads through the cache."""

    __slots__ = (
        "counts_as_autocommit",
        "cursors",
        "default_is_snapshot",
        "has_written",
        "is_in_raw_transaction",
        "is_snapshot",
        "tickets",
        "writes",
    )

    def __init__(self) -> None:
        self.writes = Writes()
        """Rows and models of cached tables that the open transaction has written."""
        self.has_written = False
        """Has the open transaction written anything at all, to any table, or locked one?"""
        self.tickets: list[Ticket] = []
        """COMMITs that raised: the rollback that follows tells whether they surely failed."""
        self.is_in_raw_transaction = False
        """Was BEGIN sent as a statement of its own?"""
        self.is_snapshot = False
        """Has this transaction been told to be REPEATABLE READ or SERIALIZABLE, or may it have been?"""
        self.default_is_snapshot: bool | None = None
        """Do transactions of this connection begin so? None until it is learnt."""
        self.cursors: WeakSet[CursorWrapper] = WeakSet()
        """SQLite: cursors that may hold an unfinished SELECT, and with it an old snapshot."""
        self.counts_as_autocommit: Callable[[], bool] | None = None
        """For tests: asked inside ``atomic`` whether only the test's own transaction is open. None in production."""

    def end_transaction(self) -> None:
        """COMMIT or ROLLBACK has happened."""
        self.writes = Writes()
        self.has_written = False
        self.is_in_raw_transaction = False
        self.is_snapshot = False


def state_of(connection: BaseDatabaseWrapper) -> ConnectionState:
    """The state of a connection, made at the first call."""
    state: ConnectionState | None = connection.__dict__.get(_ATTRIBUTE)
    if state is None:
        state = connection.__dict__[_ATTRIBUTE] = ConnectionState()
    return state


def is_in_transaction(connection: BaseDatabaseWrapper, state: ConnectionState) -> bool:
    """Is what a statement does undone by a rollback to come? Before it connects, Django knows of no autocommit yet."""
    if connection.connection is None:
        return connection.in_atomic_block
    if connection.in_atomic_block:
        return state.counts_as_autocommit is None or not state.counts_as_autocommit()
    return state.is_in_raw_transaction or not connection.autocommit


def has_unfinished_cursor(state: ConnectionState) -> bool:
    """May a SELECT on this SQLite connection see the snapshot that one of its cursors keeps open?"""
    for cursor in list(state.cursors):
        if _may_be_unfinished(cursor):
            return True
        state.cursors.discard(cursor)
    return False


def _may_be_unfinished(cursor: CursorWrapper) -> bool:
    """sqlite3 doesn't tell; but a cursor refers to its statement until that is exhausted or closed."""
    raw = getattr(cursor.cursor, "driver_cursor", cursor.cursor)  # of a cursor whose rows are given once more
    if not isinstance(raw, sqlite3.Cursor):
        return True
    return any(type(referent).__name__ == "Statement" for referent in gc.get_referents(raw))


def transaction_is_open(connection: BaseDatabaseWrapper) -> bool | None:
    """Does the driver know of an open transaction? None if it can't say. Asks nobody."""
    raw: Any = connection.connection
    if raw is None:
        return False
    if hasattr(raw, "pgconn"):
        return bool(raw.pgconn.transaction_status)
    if hasattr(raw, "get_transaction_status"):
        return bool(raw.get_transaction_status())
    return bool(raw.in_transaction) if hasattr(raw, "in_transaction") else None


def sees_snapshot(connection: BaseDatabaseWrapper, state: ConnectionState) -> bool:
    """Does the open transaction keep to one snapshot, so that a hit could be newer than the rest of what it reads?"""
    if state.is_snapshot or connection.vendor not in _DEFAULT_ISOLATION:
        return True
    if state.default_is_snapshot is None:
        state.default_is_snapshot = _DEFAULT_ISOLATION[connection.vendor](connection) != "read committed"
    return state.default_is_snapshot


def _postgresql_default(connection: Any) -> str:
    """Asked once per connection: Django says READ COMMITTED whatever the server's default is.

    SHOW takes no snapshot, so SET TRANSACTION stays possible after it.
    """
    if "isolation_level" in connection.settings_dict["OPTIONS"]:  # each BEGIN names it
        return str(connection.isolation_level.name).replace("_", " ").lower()
    with connection.wrap_database_errors, connection.create_cursor() as cursor:
        cursor.execute("SHOW default_transaction_isolation")
        return str(cursor.fetchone()[0])


def _mysql_default(connection: Any) -> str:
    return str(connection.isolation_level)


_DEFAULT_ISOLATION = {"postgresql": _postgresql_default, "mysql": _mysql_default}

"""What a read on a connection may do with the cache: hit and fill, hit only, or neither."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from django_cacheaside.engine.access import Access
from django_cacheaside.orm.connection_state import (
    ConnectionState,
    has_unfinished_cursor,
    is_in_transaction,
    sees_snapshot,
)


def access_of(connection: BaseDatabaseWrapper, state: ConnectionState) -> Access | None:
    """The access of a read that begins now; None if it must read the database.

    Outside a transaction, and in a READ COMMITTED one that has not written, everything. A transaction that has
    written sees hits of what it has not written, never leases, waits or fills: its SELECT sees what nobody else may
    see yet. One that keeps to a snapshot reads the database: a hit could be newer than the rest of what it reads. So
    does SQLite inside ``atomic``; outside, while one of its cursors is unfinished, a SELECT may see the snapshot of
    that cursor. A transaction that can only be rolled back reads the database too: there Django refuses it.
    """
    if connection.connection is None or not is_in_transaction(connection, state):
        return Access.LOOK if state.cursors and has_unfinished_cursor(state) else Access.FULL
    if connection.vendor == "sqlite" or connection.needs_rollback or sees_snapshot(connection, state):
        return None
    return Access.LOOK if state.has_written else Access.IN_TRANSACTION

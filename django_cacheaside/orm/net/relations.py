"""Relations that no model has and that lead to tables of models all the same: views, partitions, inherited tables."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

_QUERIES: Final = {
    "postgresql": """
        SELECT relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
        AND (relkind IN ('v', 'f', 'p') OR EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = c.oid))
        AND relkind NOT IN ('i', 'I')
    """,
    "sqlite": """
        SELECT name FROM sqlite_master WHERE type = 'view' UNION SELECT name FROM sqlite_temp_master WHERE type = 'view'
    """,
    "mysql": "SELECT table_name FROM information_schema.views",
}


def leading_relations(connection: BaseDatabaseWrapper) -> frozenset[str] | None:
    """Their names in lower case; None if the database can't say. One SELECT, past all wrappers."""
    query = _QUERIES.get(connection.vendor)
    if query is None:
        return None
    backend: Any = connection
    try:
        with backend.wrap_database_errors, closing(backend.create_cursor()) as cursor:
            cursor.execute(query)
            return frozenset(str(name).lower() for (name,) in cursor.fetchall())
    except DatabaseError:  # a transaction that can only be rolled back: nothing that it writes will stand
        return None

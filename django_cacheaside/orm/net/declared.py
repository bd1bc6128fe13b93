"""The declared keys that a statement writes.

Of ``Unique`` and ``Listing`` only the keys of the new values: a row that has left one is found out by who reads it.
Of ``Derived`` those of the old values too, whatever column was written. What the statement's parameters do not tell is
read in its transaction, for rows by primary key; else the key's own epoch is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from django_cacheaside.orm.index.index import Index
from django_cacheaside.orm.index.resolve import ResolvedKey
from django_cacheaside.orm.index.source import NO_KEY
from django_cacheaside.orm.net.facts import NULL_VALUE
from django_cacheaside.orm.net.statement import Statement, Verb
from django_cacheaside.orm.net.tables import Reader
from django_cacheaside.store.writes import Writes

MOST_READ = 1000
"""Rows of one statement that are read for the sake of their keys; of more the epochs are taken."""


@dataclass(slots=True)
class Unknown:
    """Keys that only the database can tell, of the rows that a statement writes.

    Args:
        pks: Of the rows; None until the statement has told them.
        before: Keys of the values that rows have before the statement.
        after: Keys of the values that rows have after it.
        inherited: Keys of the values that they have from their parents' rows, which the statement leaves alone.
    """

    reader: Reader
    pks: Sequence[object] | None
    before: list[Index] = field(default_factory=list)
    after: list[Index] = field(default_factory=list)
    inherited: list[Index] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.before or self.after or self.inherited)

    @property
    def can_be_asked(self) -> bool:
        """Is it known of which rows?"""
        return self.pks is not None and len(self.pks) <= MOST_READ

    def drop(self, writes: Writes) -> None:
        """Nobody can tell: take the epochs."""
        _add_epochs(writes, (*self.before, *self.after, *self.inherited))


def add_declared(
    writes: Writes,
    statement: Statement,
    reader: Reader,
    indexes: Iterable[Index],
    params: Any,
    pks: Sequence[object] | None,
    *,
    many: bool,
) -> Unknown:
    """Add the declared keys of one model that a statement writes.

    Args:
        pks: Of the rows written, as the statement names them; None if it does not.

    Returns:
        What is still unknown. Who can't ask the database must ``drop`` it.
    """
    unknown = Unknown(reader, pks)
    table = (statement.table or "").lower()
    sets = params if many else (params,)
    for index in indexes:
        if index.naming is None and index.key.kind != "derived":
            continue  # never filled
        if _may_relink(index.key, statement, table):
            writes.add_model(index.space)  # the row has the columns of another parent now
            continue
        if not _concerns(index.key, statement, table):
            continue
        is_elsewhere = bool(index.key.fields) and index.key.table != table
        if index.naming is not None and table not in index.key.tables and index.key.kind != "derived":
            unknown.inherited.append(index)
        elif index.naming is None or not isinstance(sets, (list, tuple)) or is_elsewhere:
            writes.add_model(index.space)  # the values of a row are in two tables, or can't be named
        elif not index.key.fields:
            writes.add_rows(index.space, [""])
        elif index.key.kind == "derived" and statement.verb is not Verb.INSERT:
            _add_derived(writes, statement, index, sets, unknown)
        elif not _add_new(writes, statement, index, sets):
            unknown.after.append(index)
    return unknown


def _concerns(key: ResolvedKey, statement: Statement, table: str) -> bool:
    """Can the statement make a key wrong? The content of a derived one is anybody's guess.

    A row of the model may be new where its parent's is not, which has the key's columns.
    """
    if key.kind == "derived":
        return True
    if statement.verb is Verb.INSERT:
        return table in key.tables or table == key.last_table
    return statement.verb is not Verb.DELETE and table in key.tables and _may_assign(key, statement)


def _may_relink(key: ResolvedKey, statement: Statement, table: str) -> bool:
    """May the statement say of a row that it belongs to another row of its parent?"""
    if statement.verb is not Verb.UPDATE:
        return False
    return any(table == own and statement.may_assign(column) for own, column in key.links)


def _may_assign(key: ResolvedKey, statement: Statement) -> bool:
    return any(map(statement.may_assign, key.sources))


def _add_derived(writes: Writes, statement: Statement, index: Index, sets: Sequence[Any], unknown: Unknown) -> None:
    """Old and new values. Where the statement leaves them alone, they are the same, and can be read after it."""
    if statement.verb is Verb.DELETE:
        unknown.before.append(index)
    elif not _may_assign(index.key, statement):
        unknown.after.append(index)
    else:
        unknown.before.append(index)
        if not _add_new(writes, statement, index, sets):
            unknown.after.append(index)


def _add_new(writes: Writes, statement: Statement, index: Index, sets: Sequence[Any]) -> bool:
    """Add the keys of the values that a statement writes, if its parameters tell them all."""
    naming = index.naming
    assert naming is not None
    idents: set[str] = set()
    for params in sets:
        values_of = _inserted if statement.verb is Verb.INSERT else _set
        rows = values_of(statement, index.key, params)
        if rows is None:
            return False
        for row in rows:
            ident = naming.ident_of_parameters(row)
            if ident is None:
                return False
            idents.add(ident)
    idents.discard(NO_KEY)
    if idents:
        writes.add_rows(index.space, idents)
    return True


def _inserted(statement: Statement, key: ResolvedKey, params: Any) -> Iterable[Sequence[object]] | None:
    if statement.rows is None or statement.overwrites:
        return None
    columns = [statement.rows.values(column, params) for column in key.columns]
    told = [column for column in columns if column is not None]
    return zip(*told, strict=True) if len(told) == len(columns) else None


def _set(statement: Statement, key: ResolvedKey, params: Any) -> Iterable[Sequence[object]] | None:
    places = [statement.values.get(column) for column in key.columns]
    if not isinstance(params, (list, tuple)) or any(at is None or at >= len(params) for at in places):
        return None
    return [tuple(None if at == NULL_VALUE else params[at] for at in places if at is not None)]


def ask_before(writes: Writes, unknown: Unknown, connection: BaseDatabaseWrapper, *, had_written: bool) -> None:
    """Add the keys of the values that a statement is about to replace. One SELECT FOR UPDATE.

    Args:
        had_written: Has the transaction written before? To SQLite a transaction that reads first may find that it can't
            write any more.
    """
    rows = _rows(unknown, connection)
    if rows is not None and _can_lock(connection):
        _add_keys_of(rows.select_for_update(), writes, unknown.before)
    elif rows is not None and connection.vendor == "sqlite" and had_written:
        _add_keys_of(rows, writes, unknown.before)
    else:
        _add_epochs(writes, unknown.before)


def ask_after(writes: Writes, unknown: Unknown, connection: BaseDatabaseWrapper) -> None:
    """Add the keys of the values that a statement has given to rows. One SELECT."""
    rows = _rows(unknown, connection)
    if rows is None:
        _add_epochs(writes, unknown.after)
    else:
        _add_keys_of(rows, writes, unknown.after)


def ask_parents(
    writes: Writes, unknown: Unknown, connection: BaseDatabaseWrapper, *, sees_snapshot: Callable[[], bool]
) -> None:
    """Add the keys of the values that new rows have from their parents'. One SELECT FOR UPDATE.

    Those rows are not locked by the statement. Changed by somebody else before our COMMIT, they would be under a key
    that a reader fills without the child, and that nobody voids after it. So they are locked as ``save()`` of a child
    locks them, without waiting. A row that is not to be had is changing, or comes later than its child, as foreign keys
    that are checked at COMMIT let it: then the epochs are taken.

    Args:
        sees_snapshot: Does the transaction keep to one? To lock a row that has changed since would fail it.
    """
    rows, features = _rows(unknown, connection), connection.features
    if connection.vendor == "sqlite":
        lockable = rows  # has one writer, which is us
    elif rows is None or not _can_lock(connection) or not features.has_select_for_update_skip_locked or sees_snapshot():
        lockable = None
    else:
        lockable = rows.select_for_update(skip_locked=True, no_key=features.has_select_for_no_key_update)
    if lockable is None or _add_keys_of(lockable, writes, unknown.inherited) < len(unknown.pks or ()):
        _add_epochs(writes, unknown.inherited)


def _can_lock(connection: BaseDatabaseWrapper) -> bool:
    """Does the database lock rows, and Django know of the transaction? It refuses FOR UPDATE behind a raw BEGIN."""
    return connection.features.has_select_for_update and not connection.get_autocommit()


def _add_epochs(writes: Writes, indexes: Iterable[Index]) -> None:
    for index in indexes:
        writes.add_model(index.space)


def _rows(unknown: Unknown, connection: BaseDatabaseWrapper) -> Any:
    """The rows that a statement writes, not yet read; None if they are too many, or not known."""
    if unknown.pks is None or not unknown.can_be_asked:
        return None
    model = unknown.reader.registration.model
    return QuerySet(model).using(connection.alias).order_by().filter(pk__in=list(unknown.pks))


def _add_keys_of(rows: Any, writes: Writes, indexes: Sequence[Index]) -> int:
    """Read rows, and add their keys. Returns how many there are."""
    attnames = tuple(dict.fromkeys(attname for index in indexes for attname in index.key.attnames))
    found = list(rows.values_list(*attnames))
    for index in indexes:
        naming = index.naming
        assert naming is not None
        places = [attnames.index(attname) for attname in index.key.attnames]
        # values that can't be named are nobody's key
        values = (naming.values([row[at] for at in places]) for row in found)
        if known := [naming.ident(one) for one in values if one is not None]:
            writes.add_rows(index.space, known)
    return len(found)

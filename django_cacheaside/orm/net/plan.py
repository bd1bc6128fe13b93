"""From a statement to the keys it writes: which models, and which of their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_cacheaside.orm import runtime
from django_cacheaside.orm.net.statement import Statement, Verb
from django_cacheaside.orm.net.tables import Reader, Tables
from django_cacheaside.store.writes import Writes


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do around one text.

    Args:
        statement: What the text says.
        readers: The cached models that read the written table; their rows can be told from the parameters.
        models: Cached models of which any row may change.
        is_write: Does it write at all, any table?
        may_commit: May it commit what is open, on some database?
        chains: Does it open the next transaction?
        releases: Is it RELEASE SAVEPOINT?
    """

    statement: Statement
    readers: tuple[Reader, ...] = ()
    models: tuple[Reader, ...] = ()
    is_write: bool = False
    may_commit: bool = False
    chains: bool = False
    releases: bool = False


def make_plan(statement: Statement, text: str, tables: Tables) -> Plan:
    """Match a statement with the cached models."""
    plan = _match(statement, text, tables)
    # to SQLite, releasing the outermost savepoint is a COMMIT
    releases = text.lstrip()[:7].upper() == "RELEASE"
    chains = statement.verb in (Verb.COMMIT, Verb.ROLLBACK) and "CHAIN" in text.upper()
    return replace(plan, may_commit=statement.implicit_commit or releases, chains=chains, releases=releases)


def _match(statement: Statement, text: str, tables: Tables) -> Plan:
    verb = statement.verb
    if verb in (Verb.UNKNOWN, Verb.COMMIT_PREPARED):
        return Plan(statement, models=_distinct(tables.all()), is_write=True)
    if verb is Verb.WRITE:
        named = _distinct(tables.mentioned(text))
        return Plan(statement, models=_distinct([*named, *_after_deletes(named, tables, statement)]), is_write=True)
    if verb not in (Verb.INSERT, Verb.UPDATE, Verb.DELETE) or statement.table is None:
        return Plan(statement)
    readers = _distinct(tables.readers(statement.table))
    models: list[Reader] = []
    if verb is Verb.DELETE or statement.overwrites:
        models.extend(tables.changed_with(statement.table))
    if verb is Verb.UPDATE:
        moved = [one for one in readers if one.pk_column is None or statement.may_assign(one.pk_column)]
        models.extend(moved)
        if moved:
            models.extend(tables.changed_with(statement.table, by_any_reference=True))
    return Plan(statement, readers, _distinct(models), is_write=True)


def _after_deletes(named: Iterable[Reader], tables: Tables, statement: Statement) -> Iterable[Reader]:
    for reader in named:
        table = reader.registration.model._meta.db_table
        yield from tables.changed_with(table, by_any_reference=statement.cascades)


def _distinct(readers: Iterable[Reader]) -> tuple[Reader, ...]:
    return tuple(dict.fromkeys(readers))


def written_by(plan: Plan, params: Any, connection: BaseDatabaseWrapper, *, many: bool) -> tuple[Writes, list[Reader]]:
    """The keys that a statement writes, as far as its parameters tell.

    Returns:
        The keys, and the models whose new rows only the database knows: those of an INSERT without primary keys.
    """
    writes = Writes()
    untold: list[Reader] = []
    current = runtime.current()
    for reader in plan.models:
        writes.add_model(current.place(reader.registration, connection).space)
    for reader in plan.readers:
        place = current.place(reader.registration, connection)
        if place.space in writes.models:
            continue
        values = None if reader.pk_column is None else _values(plan.statement, reader.pk_column, params, many=many)
        if values is None and plan.statement.verb is Verb.INSERT and not many:
            untold.append(reader)
        else:
            add_values(writes, reader, values, connection)
    return writes, untold


def add_values(
    writes: Writes, reader: Reader, values: Sequence[object] | None, connection: BaseDatabaseWrapper
) -> None:
    """Rows by the database's values of their primary keys; the whole model if one of them can't be told."""
    place = runtime.current().place(reader.registration, connection)
    if values is not None and place.key is not None:
        idents = place.key.idents_of_parameters(values)
        if idents is not None:
            writes.add_rows(place.space, idents)
            return
    writes.add_model(place.space)


def _values(statement: Statement, column: str, params: Any, *, many: bool) -> Sequence[object] | None:
    """The values of ``column`` in the rows that are written; None if they can't be told."""
    if many:
        if not isinstance(params, (list, tuple)):
            return None  # a generator can be read only once, and the statement needs it
        each = [_values(statement, column, row, many=False) for row in params]
        return None if any(values is None for values in each) else [value for values in each for value in values or ()]
    if statement.verb is Verb.INSERT:
        # a conflict may hit a row that the parameters don't name
        return None if statement.rows is None or statement.overwrites else statement.rows.values(column, params)
    for bound in statement.bounds:
        if bound.column == column:
            return bound.values(params or ())
    return None

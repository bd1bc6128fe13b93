"""From a statement to the keys it writes: which models, and which of their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_cacheaside.orm import runtime
from django_cacheaside.orm.net.declared import Unknown, add_declared
from django_cacheaside.orm.net.dropping import Reason, drop
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
        led_to: The cached models that it may write by way of a relation of no model, if it names one that leads on.
    """

    statement: Statement
    readers: tuple[Reader, ...] = ()
    models: tuple[Reader, ...] = ()
    is_write: bool = False
    may_commit: bool = False
    chains: bool = False
    releases: bool = False
    led_to: tuple[Reader, ...] = ()

    def names_one_of(self, relations: frozenset[str], text: str) -> bool:
        """Does the statement write, or may it write, one of these relations?"""
        if self.statement.table is not None:
            return self.statement.table.lower() in relations
        lowered = text.lower()
        return any(name in lowered for name in relations)


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
        written = _distinct([*named, *_after_deletes(named, tables, statement)])
        return Plan(statement, models=written, is_write=True, led_to=_distinct(tables.all()))
    if verb not in (Verb.INSERT, Verb.UPDATE, Verb.DELETE) or statement.table is None:
        return Plan(statement)
    if not tables.is_a_models(statement.table):
        return Plan(statement, is_write=True, led_to=_distinct(tables.all()))
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


@dataclass(slots=True)
class Written:
    """What a statement writes.

    Args:
        writes: The keys, as far as its parameters tell.
        untold: The models whose new rows only the database knows: those of an INSERT without primary keys.
        asked: The models that want to know which rows a condition has hit: ``precise_updates``.
        unknown: Declared keys that only the database can tell.
    """

    writes: Writes = field(default_factory=Writes)
    untold: list[Reader] = field(default_factory=list)
    asked: list[Reader] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)

    @property
    def has_questions(self) -> bool:
        """Is there anything to ask the database, in the statement's transaction?"""
        return bool(self.untold or self.asked or self.unknown)


def written_by(plan: Plan, params: Any, connection: BaseDatabaseWrapper, *, many: bool) -> Written:
    """The keys that a statement writes, and what its parameters do not tell."""
    written = Written()
    writes, statement = written.writes, plan.statement
    current = runtime.current()
    for reader in plan.models:
        place = current.place(reader.registration, connection)
        for space in place.spaces:
            writes.add_model(space)
    if plan.models:
        drop(writes, (), plan.models, Reason.of(statement))
    for reader in plan.readers:
        place = current.place(reader.registration, connection)
        if place.space in writes.models:
            continue
        values = None if reader.pk_column is None else _values(statement, reader.pk_column, params, many=many)
        if place.indexes:
            unknown = add_declared(writes, statement, reader, place.indexes, params, values, many=many)
            if unknown:
                written.unknown.append(unknown)
        if values is None and statement.verb is Verb.INSERT and not many:
            written.untold.append(reader)
        elif values is None and not many and _is_precise(reader, statement, connection):
            written.asked.append(reader)
        else:
            add_values(writes, reader, values, connection)
    return written


def _is_precise(reader: Reader, statement: Statement, connection: BaseDatabaseWrapper) -> bool:
    return (
        reader.registration.options.precise_updates
        and reader.pk_column is not None
        and statement.name_for_returning is not None
        and connection.features.can_return_columns_from_insert
        and connection.vendor in ("postgresql", "sqlite")
    )


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
    drop(writes, (place.space,), (reader,), Reason.UNNAMED_ROWS)


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

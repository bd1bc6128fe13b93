"""The rows of one model in one database, as the engine asks for them: loaded by one SELECT, encoded, decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DatabaseError, DataError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from django_cacheaside.clock import Clock
from django_cacheaside.engine.policy import Policy
from django_cacheaside.engine.schema import Schemas
from django_cacheaside.engine.source import Source
from django_cacheaside.exceptions import OtherSpellingError, UncacheableRowError, UndecodableEntryError
from django_cacheaside.keys import KeySpace
from django_cacheaside.orm.codec import FINGERPRINT_SIZE, RowCodec, row_codec
from django_cacheaside.orm.columns import ColumnKey
from django_cacheaside.orm.instances import Build
from django_cacheaside.orm.near import MARK
from django_cacheaside.orm.registry import Registration

Row = Sequence[Any]
"""The values of a row's columns, in the order of ``RowSource.attnames``."""

ROWS_PER_SELECT = 1000


class RowSource(Source[Any, Row]):
    """The rows of one model in one database. Holds no connection: threads share it."""

    def __init__(
        self,
        registration: Registration,
        connection: BaseDatabaseWrapper,
        *,
        space: KeySpace,
        policy: Policy,
        key: ColumnKey,
        use_tz: bool,
        clock: Clock,
        loads_in_background: bool = False,
    ) -> None:
        model = registration.model
        self.space = space
        self.policy = policy
        self.tally = registration.tally
        self.key = key
        self.ident = key.ident
        self.alias = connection.alias
        self.loads_in_background = loads_in_background
        excluded = registration.options.exclude
        fields = [field for field in model._meta.concrete_fields if field.attname not in excluded]
        self.attnames = tuple(field.attname for field in fields)
        self.builders: dict[type[Model], Build] = {}
        """How instances are made of the rows, by class: the model, or a proxy of it."""
        self._model = model
        self._codec: RowCodec = row_codec(fields, connection, use_tz=use_tz)
        self.mark = None if registration.options.near is None else MARK
        """What its instances are marked with, whether they come from near this time or not: so a test finds it out."""
        self.schemas: Schemas[Row] = Schemas(
            self._codec.fingerprint, self._codec.schema.record, self._codec.decoder_for, clock
        )
        self._pk_at = self.attnames.index(model._meta.pk.attname)
        self._fingerprint = self._codec.fingerprint
        self._head = self._codec.fingerprint + self._codec.head
        self._select: _Select | None = None

    def load(self, pks: Sequence[Any], /) -> dict[Any, Row]:
        """As a source does.

        Raises:
            OtherSpellingError: A row came that nobody asked for, and one that was asked for did not: the column is not
                what its field says, and holds the two to be equal.
        """
        connection = connections[self.alias]
        if self._select is None:
            self._select = _Select(self._model, connection, self.attnames, pks[0])
        size = min(ROWS_PER_SELECT, connection.features.max_query_params or ROWS_PER_SELECT)
        rows: dict[Any, Row] = {}
        for start in range(0, len(pks), size):
            for row in self._select.rows(connection, pks[start : start + size]):
                rows[row[self._pk_at]] = row
        if (others := rows.keys() - pks) and any(pk not in rows for pk in pks):
            raise OtherSpellingError(f"{self._model._meta.label}: the database gave the row {others.pop()!r}")
        return rows

    def is_shared(self, error: Exception, /, *, rows: int) -> bool:
        return fails_for_all(error, self.alias, rows=rows)

    def encode(self, pk: Any, row: Row, /) -> bytes:
        if row[self._pk_at] != pk:
            raise UncacheableRowError(f"the database gave the row {row[self._pk_at]!r} for {pk!r}")
        return self._codec.fingerprint + self._codec.encode(row)

    def decode_many(self, pks: Sequence[Any], raws: Sequence[bytes], at: int, /) -> Sequence[Row] | None:
        begin, head, pk_at = at + FINGERPRINT_SIZE, self._head, self._pk_at
        if not all([raw.startswith(head, at) for raw in raws]):  # noqa: C419  half the time of a generator
            return None
        try:
            rows = self._codec.decode_many([raw[begin:] for raw in raws])
        except UndecodableEntryError:
            return None
        return rows if [row[pk_at] for row in rows] == list(pks) else None

    def decode(self, pk: Any, raw: bytes, at: int, /) -> Row:
        if raw.startswith(self._fingerprint, at):
            row = self._codec.decode(raw[at + FINGERPRINT_SIZE :])
        else:
            decode = self.schemas.decoder(raw[at : at + FINGERPRINT_SIZE])
            row = decode(raw[at + FINGERPRINT_SIZE :])
        if row[self._pk_at] != pk:
            raise UndecodableEntryError(f"the entry of {pk!r} holds the row {row[self._pk_at]!r}")
        return row


def fails_for_all(error: Exception, alias: str, *, rows: int) -> bool:
    """Would another thread's load of one of these rows have failed as well?

    Not if the fault is this one's transaction or connection; nor, of many rows, if it may be another row's: a value
    that can't be converted, a key that can't be sent.
    """
    if connections[alias].in_atomic_block or isinstance(error, InterfaceError):
        return False
    return rows == 1 or (isinstance(error, DatabaseError) and not isinstance(error, DataError))


class _Select:
    """``SELECT every kept column … WHERE pk IN (…)``, compiled once.

    Compiling costs the ORM ten times what SQLite takes to answer.
    """

    def __init__(self, model: type[Model], connection: BaseDatabaseWrapper, attnames: Sequence[str], pk: Any) -> None:
        rows: Any = QuerySet(model).using(connection.alias).order_by().filter(pk__in=[pk]).values_list(*attnames)
        compiler = rows.query.get_compiler(connection=connection)
        sql, _ = compiler.as_sql()
        head, found, tail = sql.rpartition(" IN (%s)")
        assert found, f"not a SELECT by primary key: {sql}"
        assert not tail, f"not a SELECT by primary key alone: {sql}"
        self._head = head + " IN ("
        self._field = model._meta.pk
        expressions = [column[0] for column in compiler.select]
        self._converters = list(compiler.get_converters(expressions).items())

    def rows(self, connection: BaseDatabaseWrapper, pks: Sequence[Any]) -> list[list[Any]]:
        """The rows that exist, as ``values_list`` gives them. One statement."""
        sql = f"{self._head}{', '.join(['%s'] * len(pks))})"
        prepare = self._field.get_db_prep_value
        with connection.cursor() as cursor:
            cursor.execute(sql, [prepare(pk, connection) for pk in pks])
            rows = [list(row) for row in cursor.fetchall()]
        for at, (converters, expression) in self._converters:
            for row in rows:
                for convert in converters:
                    row[at] = convert(row[at], expression, connection)
        return rows

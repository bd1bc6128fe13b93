"""Column values as parts of keys: one text per value, whichever way it was spelt.

Reads know a Python value, statements know a parameter; both must come to the same text, or an invalidation would miss
its key. What is not surely understood is None: a read then goes to the database, a write takes all that it may mean.
"""

from __future__ import annotations

import datetime as dt
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any
from uuid import UUID

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    DecimalField,
    Field,
    GeneratedField,
    IntegerField,
    Model,
    TextField,
    UUIDField,
)

from django_cacheaside.keys import text_ident

_VALUE_PATH = (
    "to_python",
    "get_prep_value",
    "get_db_prep_value",
    "from_db_value",
    "get_db_converters",
    "select_format",
)
_COLUMN_TYPE = ("db_type", "db_type_parameters", "db_type_suffix", "db_parameters", "rel_db_type")
_FAMILIES: tuple[tuple[type[Field[Any, Any]], ...], ...] = (
    (IntegerField,),
    (CharField, TextField),
    (UUIDField,),
    (BooleanField,),
    (DecimalField,),
    (DateTimeField,),
    (DateField,),
)
"""Fields whose columns compare values alike, whichever of one family it is; a date-time is a date to Python only."""

_BYTE_ORDER = frozenset({"C", "POSIX", "C.UTF-8", "ucs_basic", "pg_c_utf8", "BINARY"})
"""Collations under which texts compare as Python compares them: equal if the same, ordered by code points."""


class ColumnKey(ABC):
    """The values of one column in one database."""

    is_exact = True
    """Are two values equal to the database only if they are equal to Python?"""

    @abstractmethod
    def value(self, spelt: object) -> Any | None:
        """The value a row carries, for what a caller looked up; None if Django must say what it means."""

    def values(self, spelt: Iterable[object]) -> Iterable[Any | None]:
        """As ``value``, for many."""
        return map(self.value, spelt)

    @abstractmethod
    def ident(self, value: Any) -> str:
        """The value's part of keys."""

    def value_of_ident(self, ident: str) -> Any | None:  # noqa: ARG002  of kinds that can tell
        """The value of a part of keys; None if that can't be told."""
        return None

    @abstractmethod
    def ident_of_parameter(self, parameter: object) -> str | None:
        """The part of keys for a statement's parameter; None if it may mean another value."""

    def idents_of_parameters(self, parameters: Sequence[object]) -> Iterable[str] | None:
        """As ``ident_of_parameter`` for many; None if one of them may mean another value."""
        idents = [ident for one in parameters if (ident := self.ident_of_parameter(one)) is not None]
        return idents if len(idents) == len(parameters) else None


class IntegerKey(ColumnKey):
    """Any integer field."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def value(self, spelt: object) -> int | None:
        if type(spelt) is str and spelt.isascii() and spelt.removeprefix("-").isdigit() and len(spelt) < 30:
            spelt = int(spelt)  # as a URL's argument comes
        return spelt if type(spelt) is int and self._least <= spelt <= self._most else None

    def values(self, spelt: Iterable[object]) -> Iterable[int | None]:
        many = list(spelt)
        if set(map(type, many)) == {int} and self._least <= min(many) and max(many) <= self._most:  # type: ignore[type-var,operator]
            return many  # type: ignore[return-value]  # integers, all of them
        return map(self.value, many)

    ident = staticmethod(str)  # type: ignore[assignment]  # in C: a batch has a hundred

    def value_of_ident(self, ident: str) -> int | None:
        return self.value(ident)

    def ident_of_parameter(self, parameter: object) -> str | None:
        # the driver's own integer types (psycopg's Int8) are subclasses
        return str(int(parameter)) if isinstance(parameter, int) and type(parameter) is not bool else None

    def idents_of_parameters(self, parameters: Sequence[object]) -> Iterable[str] | None:
        if set(map(type, parameters)) == {int}:
            return map(str, parameters)
        return super().idents_of_parameters(parameters)


class TextKey(ColumnKey):
    """Any text field.

    Args:
        is_exact: False under a collation by which the database may hold two texts to be equal.
    """

    def __init__(self, *, is_exact: bool = True) -> None:
        self.is_exact = is_exact

    def value(self, spelt: object) -> str | None:
        if not isinstance(spelt, str) or "\0" in spelt:
            return None
        return spelt if type(spelt) is str else str.__str__(spelt)  # a choice, a safe string

    def ident(self, value: str) -> str:
        return text_ident(value)

    def value_of_ident(self, ident: str) -> str | None:
        return None if ident.startswith("#") else ident  # a hash of a longer one

    def ident_of_parameter(self, parameter: object) -> str | None:
        return text_ident(str.__str__(parameter)) if isinstance(parameter, str) else None


class UuidKey(ColumnKey):
    """A ``UUIDField``."""

    def value(self, spelt: object) -> UUID | None:
        if type(spelt) is str:
            try:
                return UUID(spelt)
            except ValueError:
                return None
        return spelt if type(spelt) is UUID else None

    def ident(self, value: UUID) -> str:
        return value.hex

    def value_of_ident(self, ident: str) -> UUID | None:
        return self.value(ident)

    def ident_of_parameter(self, parameter: object) -> str | None:
        value = self.value(parameter)
        return None if value is None else value.hex


class BooleanKey(ColumnKey):
    """A ``BooleanField``."""

    def value(self, spelt: object) -> bool | None:
        return spelt if type(spelt) is bool else None

    def ident(self, value: bool) -> str:  # noqa: FBT001  the value itself
        return "1" if value else "0"

    def ident_of_parameter(self, parameter: object) -> str | None:
        return ("0", "1")[int(parameter)] if isinstance(parameter, int) and parameter in (0, 1) else None


class DecimalKey(ColumnKey):
    """A ``DecimalField``: 1.5 and 1.50 are one value; what the column would round is Django's to say."""

    def __init__(self, places: int) -> None:
        self._unit = Decimal(1).scaleb(-places)

    def value(self, spelt: object) -> Decimal | None:
        if type(spelt) is not Decimal or not spelt.is_finite():
            return None
        try:
            value = spelt.quantize(self._unit)
        except InvalidOperation:
            return None
        return value if value == spelt else None

    def ident(self, value: Decimal) -> str:
        return format(value.quantize(self._unit) + 0, "f")  # + 0: zero has no sign

    def ident_of_parameter(self, parameter: object) -> str | None:
        if isinstance(parameter, str) and _DECIMAL.fullmatch(parameter):  # as SQLite's adapter writes it
            parameter = Decimal(parameter)
        value = self.value(parameter)
        return None if value is None else self.ident(value)


class DateKey(ColumnKey):
    """A ``DateField``."""

    def value(self, spelt: object) -> dt.date | None:
        return spelt if type(spelt) is dt.date else None

    def ident(self, value: dt.date) -> str:
        return value.isoformat()

    def ident_of_parameter(self, parameter: object) -> str | None:
        if isinstance(parameter, str):
            return str(parameter) if _DATE.fullmatch(parameter) else None
        value = self.value(parameter)
        return None if value is None else value.isoformat()


class MomentKey(ColumnKey):
    """A ``DateTimeField`` of moments in UTC, or of wall-clock times without a zone.

    Args:
        is_text: Does Django send them as text? Where it doesn't, the time zone of the session says what a text means.
    """

    def __init__(self, *, is_aware: bool, is_text: bool) -> None:
        self._is_aware = is_aware
        self._is_text = is_text

    def value(self, spelt: object) -> dt.datetime | None:
        if not isinstance(spelt, dt.datetime) or (spelt.utcoffset() is not None) is not self._is_aware:
            return None
        return spelt.astimezone(dt.timezone.utc) if self._is_aware else spelt

    def ident(self, value: dt.datetime) -> str:
        return (value.astimezone(dt.timezone.utc) if self._is_aware else value).replace(tzinfo=None).isoformat()

    def ident_of_parameter(self, parameter: object) -> str | None:
        if isinstance(parameter, str):  # as SQLite's adapter writes it
            is_known = self._is_text and _MOMENT.fullmatch(parameter)
            return dt.datetime.fromisoformat(parameter).isoformat() if is_known else None
        value = self.value(parameter)
        return None if value is None else self.ident(value)


_DIGITS_OF_FLOAT = 15
_DECIMAL = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?")
_DATE = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])")
_MOMENT = re.compile(_DATE.pattern + r" (?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}(?:\.[0-9]{6})?")

KINDS = (
    "Django's own integer, text, UUID, boolean, decimal, date and date-time fields, subclasses that change neither "
    "values nor db_type, and foreign keys to such"
)
"""The fields that ``column_key`` knows, in words."""


def column_key(field: Field[Any, Any], connection: BaseDatabaseWrapper, *, use_tz: bool) -> ColumnKey | None:
    """How values of ``field`` are named in keys, or None if it is of a kind that is not."""
    if not is_keyed(field):
        return None
    field = base_field(field)
    if isinstance(field, IntegerField):
        least, most = connection.ops.integer_field_range(field.get_internal_type())
        return IntegerKey(-(2**63) if least is None else least, 2**63 - 1 if most is None else most)
    if isinstance(field, (CharField, TextField)):
        return TextKey(is_exact=_is_compared_by_bytes(field, connection))
    if isinstance(field, UUIDField):
        return UuidKey()
    if isinstance(field, BooleanField):
        return BooleanKey()
    if isinstance(field, DecimalField):
        return DecimalKey(field.decimal_places) if _is_decimal_in(connection, field) else None
    if isinstance(field, DateTimeField):
        # elsewhere two moments of an hour that a zone repeats may be one value to the database
        is_text = connection.vendor != "postgresql"
        is_sure = connection.timezone_name == "UTC" or not is_text if use_tz else is_text
        return MomentKey(is_aware=use_tz, is_text=is_text) if is_sure else None
    return DateKey() if isinstance(field, DateField) else None


def is_keyed(field: Field[Any, Any]) -> bool:
    """Are values of ``field`` parts of keys in some database?

    Not if a class of the user's changes them, or the type of the column: ``citext``, ``COLLATE NOCASE``, ``char(12)``
    and ``timestamp(0)`` hold values to be equal that are not equal to Python.
    """
    kind: Any = type(field)
    while (target := _target(field)) is not None:
        if not _is_django_s(kind):
            return False
        field, kind = target, type(target)
    family = _family(kind)
    if family is None or not _is_django_s(kind):
        return False
    type_of_column: Any = getattr(models, field.get_internal_type(), None)
    return isinstance(type_of_column, type) and _family(type_of_column) is family


def primary_key(model: type[Model], connection: BaseDatabaseWrapper) -> ColumnKey | None:
    """How rows of ``model`` are named in keys, or None if its primary key is of a kind that is not cached."""
    if not isinstance(base_field(model._meta.pk), (IntegerField, CharField, TextField, UUIDField)):
        return None
    key = column_key(model._meta.pk, connection, use_tz=False)
    return key if key is not None and key.is_exact else None


def base_field(field: Any) -> Field[Any, Any]:
    """The field that says what the values are: a foreign key's target, what a generated column gives."""
    while (target := _target(field)) is not None:
        field = target
    return field  # type: ignore[no-any-return]


def _target(field: Any) -> Any | None:
    """The field that says what the values of another one are; None of one that says it itself."""
    if field.remote_field:
        return field.target_field
    return field.output_field if isinstance(field, GeneratedField) else None


def is_ordered_by_bytes(field: Field[Any, Any]) -> bool:
    """Does a text field say by itself that the database sorts it by code points, as Python does?"""
    return getattr(base_field(field), "db_collation", None) in _BYTE_ORDER


def _is_compared_by_bytes(field: Any, connection: BaseDatabaseWrapper) -> bool:
    # elsewhere, or under a collation of the user's, 'abc' may find the row 'ABC'
    return connection.vendor in ("postgresql", "sqlite") and (field.db_collation is None or is_ordered_by_bytes(field))


def _is_decimal_in(connection: BaseDatabaseWrapper, field: DecimalField[Any, Any]) -> bool:
    """Does the database keep every digit? SQLite keeps a float, of which 15 are sure."""
    if None in (field.max_digits, field.decimal_places):
        return False  # it keeps what it is given
    return connection.vendor != "sqlite" or field.max_digits <= _DIGITS_OF_FLOAT


@cache
def _is_django_s(kind: Any) -> bool:
    """Are the values of such fields, and the types of their columns, what a class of Django's makes of them?"""
    methods = (getattr(kind, name, None) for name in (*_VALUE_PATH, *_COLUMN_TYPE))
    return all(method is None or method.__module__.startswith("django.") for method in methods)


@cache
def _family(kind: Any) -> tuple[type[Field[Any, Any]], ...] | None:
    return next((family for family in _FAMILIES if issubclass(kind, family)), None)

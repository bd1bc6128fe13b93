"""Primary keys as parts of keys: one text per row, whichever way the key was spelt.

Reads know a Python value, statements know a parameter; both must come to the same text, or an invalidation would miss
its row. What is not surely understood is None: a read then goes to the database, a write takes the whole model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import CharField, Field, IntegerField, Model, TextField, UUIDField

from django_cacheaside.keys import text_ident

_VALUE_PATH = ("to_python", "get_prep_value", "get_db_prep_value", "from_db_value")


class PrimaryKey(ABC):
    """The primary key of one model in one database."""

    @abstractmethod
    def value(self, spelt: object) -> Any | None:
        """The value a row carries, for what a caller of ``get(pk=…)`` gave; None if Django must say what it means."""

    @abstractmethod
    def ident(self, value: Any) -> str:
        """The row's part of its keys."""

    @abstractmethod
    def ident_of_parameter(self, parameter: object) -> str | None:
        """The row's part of its keys for a statement's parameter; None if it may mean another row."""

    def idents_of_parameters(self, parameters: Sequence[object]) -> Iterable[str] | None:
        """As ``ident_of_parameter`` for many; None if one of them may mean another row."""
        idents = [ident for one in parameters if (ident := self.ident_of_parameter(one)) is not None]
        return idents if len(idents) == len(parameters) else None


class IntegerKey(PrimaryKey):
    """Any integer field."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def value(self, spelt: object) -> int | None:
        if type(spelt) is str and spelt.isascii() and spelt.removeprefix("-").isdigit() and len(spelt) < 30:
            spelt = int(spelt)  # as a URL's argument comes
        return spelt if type(spelt) is int and self._least <= spelt <= self._most else None

    def ident(self, value: int) -> str:
        return str(value)

    def ident_of_parameter(self, parameter: object) -> str | None:
        # the driver's own integer types (psycopg's Int8) are subclasses
        return str(int(parameter)) if isinstance(parameter, int) and type(parameter) is not bool else None

    def idents_of_parameters(self, parameters: Sequence[object]) -> Iterable[str] | None:
        if set(map(type, parameters)) == {int}:
            return map(str, parameters)
        return super().idents_of_parameters(parameters)


class TextKey(PrimaryKey):
    """Any text field under a collation by which only equal texts compare equal."""

    def value(self, spelt: object) -> str | None:
        return spelt if type(spelt) is str and "\0" not in spelt else None

    def ident(self, value: str) -> str:
        return text_ident(value)

    def ident_of_parameter(self, parameter: object) -> str | None:
        return text_ident(parameter) if type(parameter) is str else None


class UuidKey(PrimaryKey):
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

    def ident_of_parameter(self, parameter: object) -> str | None:
        value = self.value(parameter)
        return None if value is None else value.hex


def primary_key(model: type[Model], connection: BaseDatabaseWrapper) -> PrimaryKey | None:
    """How rows of ``model`` are named in keys, or None if its primary key is of a kind that is not cached."""
    field: Field[Any, Any] = model._meta.pk
    while field.remote_field:
        field = field.target_field  # type: ignore[attr-defined]  # a relation's
    if not _is_plain(field):
        return None
    if isinstance(field, IntegerField):
        least, most = connection.ops.integer_field_range(field.get_internal_type())
        return IntegerKey(-(2**63) if least is None else least, 2**63 - 1 if most is None else most)
    if isinstance(field, (CharField, TextField)):
        # elsewhere, or under a collation of the user's, 'abc' may find the row 'ABC'
        return TextKey() if field.db_collation is None and connection.vendor in ("postgresql", "sqlite") else None
    if isinstance(field, UUIDField):
        return UuidKey()
    return None


def _is_plain(field: Field[Any, Any]) -> bool:
    """Are values of this field what Django's own class makes of them?"""
    methods = (getattr(type(field), name, None) for name in _VALUE_PATH)
    return all(method is None or method.__module__.startswith("django.") for method in methods)

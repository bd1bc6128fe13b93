"""Which cached models read a table, and what else changes when its rows go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import AutoField, Field, Model
from django.db.models.fields.related import ForeignObject

from django_cacheaside.orm.index.resolve import table_name
from django_cacheaside.orm.registry import Registration, Registry


@dataclass(frozen=True, slots=True)
class Reader:
    """A cached model that reads a table.

    Args:
        pk_column: The table's column that holds the model's primary key; None if there is none, so that which of its
            rows a write changes can't be told.
        is_numbered: Does the database number that column, so that the driver's last row id is a primary key? SQLite's
            is none where the key is a ``BigIntegerField`` or another row's.
    """

    registration: Registration
    pk_column: str | None
    is_numbered: bool = False


class Tables:
    """The tables of all cached models. Names are compared without case and schema: one match too many costs a load."""

    def __init__(self, registry: Registry) -> None:
        self._readers: dict[str, list[Reader]] = {}
        self._referrers: dict[str, set[str]] = {}
        self._database_cascades: dict[str, set[str]] = {}
        for registration in registry:
            for table, pk in _tables_of(registration.model):
                reader = Reader(registration, pk.column if pk else None, isinstance(pk, AutoField))
                self._readers.setdefault(table, []).append(reader)
        self._of_models = {"django_migrations"}
        for model in apps.get_models(include_auto_created=True, include_swapped=True):
            self._of_models.add(table_name(model))
            for field in model._meta.local_fields:
                if isinstance(field, ForeignObject) and field.remote_field and isinstance(field.related_model, type):
                    here, there = table_name(model), table_name(field.related_model)
                    self._referrers.setdefault(there, set()).add(here)
                    if hasattr(field.remote_field.on_delete, "on_delete_sql"):  # Django 6.1: DB_CASCADE and its like
                        self._database_cascades.setdefault(there, set()).add(here)

    def readers(self, table: str) -> list[Reader]:
        """Who reads ``table``."""
        return self._readers.get(table.lower(), [])

    def is_a_models(self, table: str) -> bool:
        """Is it the table of a model, cached or not?"""
        return table.lower() in self._of_models or table.lower() in self._readers

    def mentioned(self, text: str) -> Iterator[Reader]:
        """Who reads a table whose name occurs anywhere in ``text``."""
        lowered = text.lower()
        for table, readers in self._readers.items():
            if table in lowered:
                yield from readers

    def all(self) -> Iterator[Reader]:
        """Everybody."""
        for readers in self._readers.values():
            yield from readers

    def changed_with(self, table: str, *, by_any_reference: bool = False) -> Iterator[Reader]:
        """Who reads a table whose rows the database itself changes when rows of ``table`` go.

        Args:
            by_any_reference: Follow every foreign key, as TRUNCATE … CASCADE does, not only those that Django gave an
                action of the database's.
        """
        edges = self._referrers if by_any_reference else self._database_cascades
        for changed in _reachable(table.lower(), edges):
            yield from self.readers(changed)


def _tables_of(model: type[Model]) -> Iterator[tuple[str, Field[Any, Any] | None]]:
    """Each table that a row of ``model`` is read from, with its field that holds the row's primary key."""
    yield table_name(model), model._meta.pk
    for parent in model._meta.get_parent_list():
        if not parent._meta.proxy:
            yield table_name(parent), parent._meta.pk if _shares_pk(model, parent) else None


def _shares_pk(model: type[Model], parent: type[Model]) -> bool:
    """Is the primary key of a row of ``model`` that of its row in ``parent``?"""
    at: type[Model] | None = model
    while at is not None and at is not parent:
        pk = at._meta.pk
        if pk not in at._meta.parents.values():
            return False
        at = pk.related_model if isinstance(pk.related_model, type) else None
    return at is parent


def _reachable(start: str, edges: dict[str, set[str]]) -> Iterable[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for table in edges.get(waiting.pop(), ()):
            if table not in found:
                found.add(table)
                waiting.append(table)
    return found

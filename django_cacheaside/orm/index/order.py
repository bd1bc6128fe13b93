"""Rows sorted as the database would sort them: where Python can tell how."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    CharField,
    DateField,
    DecimalField,
    DurationField,
    F,
    Field,
    FloatField,
    IntegerField,
    Model,
    OrderBy,
    TextField,
    TimeField,
    UUIDField,
)
from django.db.models.functions import Collate

from django_cacheaside.orm.columns import base_field, is_ordered_by_bytes

_COMPARED_ALIKE = (
    BooleanField,
    DateField,
    DecimalField,
    DurationField,
    FloatField,
    IntegerField,
    TimeField,
    UUIDField,
)
_BYTE_ORDER_OF = {"postgresql": "C", "sqlite": "BINARY", "mysql": "utf8mb4_bin"}


@dataclass(frozen=True, slots=True)
class Direction:
    """One column to sort by."""

    field: Field[Any, Any]
    is_descending: bool
    by_bytes: bool = False
    """Has the declaration stated the order of the text?"""


def directions(
    model: type[Model], order_by: Sequence[Any], *, exclude: Collection[str], by_bytes: bool = False
) -> list[Direction] | tuple[str, str]:
    """What ``order_by`` says, or the word that is wrong in it and what is wrong.

    Args:
        exclude: The attnames that are kept out of the cache: what is served has no values there to sort by.
        by_bytes: Are texts sorted by code points, as a declaration states?
    """
    found: list[Direction] = []
    by_name = {name: field for field in model._meta.concrete_fields for name in (field.attname, field.name)}
    for word in order_by:
        name, is_descending = _read(word)
        field = model._meta.pk if name == "pk" else by_name.get(name or "")
        if field is None:
            return str(word), "names no column"
        if field.is_relation and name == field.name:
            return str(word), f"sorts by what it refers to, in another table; say {field.attname!r}"
        if field.attname in exclude:
            return str(word), "sorts by a column that exclude keeps out of the cache"
        kind = base_field(field)
        if isinstance(kind, (CharField, TextField)):
            if not by_bytes and not is_ordered_by_bytes(field):
                return str(word), 'sorts text, by a collation that Python does not know; state collation="C"'
        elif not isinstance(kind, _COMPARED_ALIKE):
            return str(word), f"sorts by a {type(kind).__name__}, which Python may sort otherwise than the database"
        found.append(Direction(field, is_descending, by_bytes))
    return found


def _read(word: Any) -> tuple[str | None, bool]:
    """A name of ``order_by()`` and whether it stands for descending; None for an expression of more than a column."""
    if isinstance(word, str):
        return word.removeprefix("-").removeprefix("+"), word.startswith("-")
    is_descending = False
    if isinstance(word, OrderBy) and not (word.nulls_first or word.nulls_last):
        is_descending, word = word.descending, word.expression
    return (vars(word)["name"], is_descending) if type(word) is F else (None, False)


def in_database(order: Sequence[Direction], connection: BaseDatabaseWrapper) -> list[Any]:
    """The same order, for ``QuerySet.order_by``."""
    ordering: list[Any] = []
    for one in order:
        name = one.field.attname
        if one.by_bytes and isinstance(base_field(one.field), (CharField, TextField)):
            collated = Collate(name, _BYTE_ORDER_OF.get(connection.vendor, "C"))
            ordering.append(collated.desc() if one.is_descending else collated.asc())
        else:
            ordering.append("-" + name if one.is_descending else name)
    return ordering


def sorter(
    order: Sequence[Direction], attnames: Sequence[str], connection: BaseDatabaseWrapper
) -> Callable[[list[Any]], None]:
    """A function that sorts rows, tuples of ``attnames``, in place. NULLs come where the database puts them."""
    nulls_are_largest = connection.features.nulls_order_largest
    keys = [
        (_key(attnames.index(one.field.attname), nulls_are_largest=nulls_are_largest), one.is_descending)
        for one in reversed(order)
    ]

    def sort(rows: list[Any]) -> None:
        for key, is_descending in keys:
            rows.sort(key=key, reverse=is_descending)

    return sort


def _key(at: int, *, nulls_are_largest: bool) -> Callable[[Any], Any]:
    def key(row: Any) -> Any:
        value = row[at]
        if value is None:
            return (2 if nulls_are_largest else 0, 0)
        return (1.5, 0) if value != value else (1, value)  # NaN is larger than any number to PostgreSQL

    return key

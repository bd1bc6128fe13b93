"""What a queryset asks for, where it asks for whole rows by equality and nothing else.

Django's own machinery has resolved the lookups by then, so every spelling that it accepts comes out alike:
``category=5``, ``category_id="5"``, ``category=instance``, ``category__pk=5``, ``Q(category=5)``, one ``filter()`` or
several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.fields.related_lookups import RelatedExact, RelatedIn, RelatedIsNull
from django.db.models.lookups import Exact, In, IntegerFieldExact, IsNull
from django.db.models.query import ModelIterable
from django.db.models.sql.datastructures import Join
from django.db.models.sql.query import Query
from django.db.models.sql.where import AND, WhereNode

_EQUAL: Final = (Exact, IntegerFieldExact, RelatedExact)
_NULL: Final = (IsNull, RelatedIsNull)
_WITHIN: Final = (In, RelatedIn)

_LOOKED_AT: Final = frozenset({"model", "where", "alias_map", "alias_refcount", "order_by", "standard_ordering"})
_LOOKED_AT_BY_SLICE: Final = frozenset({"low_mark", "high_mark", "default_ordering"})
_BOOKKEEPING: Final = frozenset({"table_map", "used_aliases", "filter_is_sticky", "external_aliases", "base_table"})


@dataclass(frozen=True, slots=True)
class Conditions:
    """Rows of ``model``, whole ones, each of which passes all of this.

    Args:
        equal: Values by attname, as Django prepared them; None where the column is NULL.
        within: Primary keys of which each row has one; None if nothing is said of them.
        order_by: As ``order_by()`` was told; with ``default_ordering`` the model's own holds where it is empty.
        is_reversed: Was ``reverse()`` called?
        low: How many of the ordered rows are left out.
        high: How many of the ordered rows are looked at; None for all.
    """

    model: type[Model]
    equal: Mapping[str, Any]
    within: tuple[Any, ...] | None
    order_by: tuple[Any, ...]
    default_ordering: bool
    is_reversed: bool
    low: int
    high: int | None


def conditions_of(queryset: QuerySet[Any]) -> Conditions | None:
    """What ``queryset`` asks for, or None if it is more, or something else. Touches nothing, evaluates nothing."""
    query: Any = queryset.query
    if type(query) is not Query or queryset._iterable_class is not ModelIterable:
        return None
    if not _is_plain(query) or not _joins_only_parents(query):
        return None
    equal: dict[str, Any] = {}
    within: tuple[Any, ...] | None = None
    model: type[Model] = queryset.model
    pk = model._meta.pk.attname
    for lookup in _conjuncts(query.where):
        lhs = getattr(lookup, "lhs", None)
        if type(lhs) is not Col or getattr(lookup, "bilateral_transforms", None):
            return None
        attname = lhs.target.attname
        if type(lookup) in _EQUAL and not hasattr(lookup.rhs, "resolve_expression"):
            value = lookup.rhs
        elif type(lookup) in _NULL and lookup.rhs is True:
            value = None
        elif type(lookup) in _WITHIN and attname == pk and within is None and isinstance(lookup.rhs, (list, tuple)):
            within = tuple(lookup.rhs)
            continue
        else:
            return None
        if attname in equal and (equal[attname] is None or value is None or equal[attname] != value):
            return None  # no row, or a question of what the database holds to be equal
        equal[attname] = value
    return Conditions(
        model,
        equal,
        within,
        tuple(query.order_by),
        query.default_ordering,
        not query.standard_ordering,
        query.low_mark,
        query.high_mark,
    )


def _conjuncts(where: WhereNode) -> Iterator[Any]:
    """The lookups that each row must pass; anything that is no plain conjunction comes as the node it is."""
    for child in where.children:
        if type(child) is WhereNode and child.connector == AND and not child.negated:
            yield from _conjuncts(child)
        else:
            yield child


def _is_plain(query: Query) -> bool:
    """Is everything that we don't look at as in a new query? What a later Django adds is not plain unless it is new."""
    if query.where.connector != AND and len(query.where.children) > 1:
        return False
    if query.where.negated:
        return False
    new = Query(query.model)
    looked_at = _LOOKED_AT | _LOOKED_AT_BY_SLICE | _BOOKKEEPING
    return all(
        name in looked_at or name.startswith("_") or value == new.__dict__.get(name, getattr(Query, name, None))
        for name, value in query.__dict__.items()
    ) and not (query._filtered_relations or query.annotations)  # type: ignore[attr-defined]


def _joins_only_parents(query: Query) -> bool:
    """Are the only tables read those that a row of the model is read from?"""
    for alias, count in query.alias_refcount.items():
        joined = query.alias_map[alias]
        if count and isinstance(joined, Join):
            link: Any = joined.join_field
            is_parent = getattr(getattr(link, "remote_field", None), "parent_link", False)
            if not is_parent or link.model not in _lineage(query.model):
                return False
    return True


def _lineage(model: Any) -> tuple[type[Model], ...]:
    concrete = model._meta.concrete_model or model
    return (concrete, *concrete._meta.get_parent_list())

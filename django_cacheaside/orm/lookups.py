"""What ``Model.cached`` was asked for, answered from the cache or left to Django.

The way from the managers to reading: here begins what a process loads at its first read.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from django_cacheaside.engine.source import Missing
from django_cacheaside.orm.conditions import conditions_of
from django_cacheaside.orm.index.declarations import Unique
from django_cacheaside.orm.reading import alias_of, begin_reading
from django_cacheaside.orm.registry import registry
from django_cacheaside.orm.serving import order_in_database, serve_by, way_of
from django_cacheaside.orm.undeclared import notice_undeclared

M = TypeVar("M", bound=Model)


def condition(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What ``get()`` was told, as a lookup; empty if it is more, or said in another way.

    Django follows a foreign key by ``get(Q(id=5))``.
    """
    if not args:
        return kwargs
    if kwargs or len(args) > 1 or type(args[0]) is not Q or args[0].negated:
        return {}
    match args[0].children:
        case [(str(name), value)]:
            return {name: value}
    return {}


def served(rows: Any, lookup: dict[str, Any]) -> Any | None:
    """The instance that ``get(**lookup)`` of a manager or queryset returns, from the cache; None if Django must answer.

    Raises:
        Model.DoesNotExist: There is no such row.
    """
    model, alias = rows.model, alias_of(rows)
    if len(lookup) == 1:
        ((name, value),) = lookup.items()
        if name in _lookups_of_pk(model):
            reading = begin_reading(model, alias)
            return _or_raise(model, None if reading is None else reading.one(value))
    unique = _unique_of(model, frozenset(lookup)) if lookup else None
    reading = None if unique is None else begin_reading(model, alias)
    if unique is None or reading is None:
        return None
    position, names = unique
    return _or_raise(model, reading.one_by_index(reading.place.indexes[position], [lookup[name] for name in names]))


def _or_raise(model: type[M], found: M | Missing | None) -> M | None:
    if isinstance(found, Missing):
        does_not_exist: type[Exception] = model.DoesNotExist  # type: ignore[attr-defined]  # made with the class
        raise does_not_exist(f"{model._meta.object_name} matching query does not exist.")
    return found


def served_in_bulk(rows: QuerySet[M], values: list[Any], field_name: str) -> dict[Any, M] | None:
    """What ``in_bulk(values, field_name=…)`` of ``rows`` returns, from the cache; None if Django must answer."""
    model = rows.model
    reading = begin_reading(model, alias_of(rows))
    if reading is None:
        return None
    if field_name in ("pk", model._meta.pk.name):
        return reading.many(values)
    unique = _unique_of(model, frozenset([field_name]))
    if unique is None or model._meta.get_field(field_name).is_relation:
        return None
    found = reading.by_index(reading.place.indexes[unique[0]], [[value] for value in values])
    if found is None or any(those is None or len(those) > 1 for those in found.values()):
        return None
    by_value = {values[0]: those[0] for values, those in found.items() if those}
    return dict(zip(by_value, reading.build(by_value.values()), strict=True))


def served_rows(rows: QuerySet[M]) -> tuple[list[M] | None, list[Any] | None]:
    """What a queryset that is iterated over gives, from the cache; None if Django must answer.

    Returns:
        The instances; or, if Django must answer, how it is to sort them where the declared key says so.
    """
    if _rereads_instance(rows):
        return None, None
    way = way_of(rows)
    if way is None:
        notice_undeclared(rows)
        return None, None
    found = serve_by(way, rows)
    return found, order_in_database(way, rows) if found is None else None


def is_ordered_by_key(rows: QuerySet[Any]) -> bool:
    """Do the rows come in the order of a ``Listing``?"""
    way = way_of(rows)
    return way is not None and bool(way.order)


def _rereads_instance(rows: Any) -> bool:
    """Is it ``refresh_from_db()``, or the load of a deferred column? Who asks for that means the database."""
    instance = rows._hints.get("instance")
    if not isinstance(instance, rows.model) or rows._fields is not None:
        return False
    conditions = conditions_of(rows.defer(None))
    return conditions is not None and conditions.equal == {instance._meta.pk.attname: instance.pk}


@cache
def _lookups_of_pk(model: type[Model]) -> frozenset[str]:
    """The ways to say "by primary key" in a lookup."""
    pk = model._meta.pk
    return frozenset(name + exact for name in ("pk", pk.name, pk.attname) for exact in ("", "__exact"))


@lru_cache(maxsize=4096)
def _unique_of(model: type[Model], lookups: frozenset[str]) -> tuple[int, tuple[str, ...]] | None:
    """The declared ``Unique`` whose columns these lookups name.

    Only the plainest spelling is told; all others come to the same by ``way_of``, with a queryset in between.

    Returns:
        Its place among the model's keys, and the lookups in the order of its columns.
    """
    for position, key in enumerate(registry.for_model(model).declared):
        spelt = [(field.name, field.attname) for field in key.fields]
        names = tuple(next((name for name in spellings if name in lookups), "") for spellings in spelt)
        if isinstance(key.declaration, Unique) and key.declaration.serve and set(names) == lookups:
            return position, names
    return None

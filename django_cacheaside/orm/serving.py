"""The rows that a queryset asks for, through the cache, where what it asks is equality on columns of the row.

By primary key, by a ``Unique`` or from a ``Listing``, whichever its conditions hold first; what else they demand is
compared on the rows. Anything of which Python could think otherwise than the database is left to Django.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeVar

from django.db import connections, router
from django.db.models import Model, QuerySet

from django_cacheaside import conf
from django_cacheaside.engine.tally import Tally
from django_cacheaside.orm.columns import column_key
from django_cacheaside.orm.conditions import Conditions, conditions_of
from django_cacheaside.orm.index.declarations import Listing, Unique
from django_cacheaside.orm.index.order import Direction, directions, in_database, sorter
from django_cacheaside.orm.index.resolve import ResolvedKey
from django_cacheaside.orm.peers import BY_ITSELF, give_fetch_mode
from django_cacheaside.orm.reading import Reading, alias_of, begin_reading
from django_cacheaside.orm.registry import Registration, registry
from django_cacheaside.orm.rows import Row

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Way:
    """How rows are found: by primary key, or by a declared key. ``further``: the columns to compare on each row."""

    conditions: Conditions
    key: ResolvedKey | None
    further: tuple[str, ...]

    @property
    def is_of_one_row(self) -> bool:
        """Can no more than one row be found?"""
        return self.conditions.within is None if self.key is None else isinstance(self.key.declaration, Unique)

    @property
    def is_sorted_by_key(self) -> bool:
        """Does a listing say how its rows are sorted? A proxy may have a ``Meta.ordering`` of its own."""
        if self.key is None or not isinstance(self.key.declaration, Listing):
            return False
        model: Any = self.conditions.model
        return bool(self.key.declaration.order_by) or model._meta.ordering == model._meta.concrete_model._meta.ordering

    @property
    def order(self) -> Sequence[Direction] | None:
        """How the rows are sorted; None if Python can't tell."""
        asked = self.conditions
        if self.is_of_one_row:
            return []
        exclude = registry.for_model(asked.model).options.exclude
        if asked.order_by:
            found = directions(asked.model, asked.order_by, exclude=exclude)
        elif self.is_sorted_by_key:
            found = list(self.key.order) if asked.default_ordering else []  # type: ignore[union-attr]  # there is one
        else:
            own = (asked.model._meta.ordering or ()) if asked.default_ordering else ()
            found = directions(asked.model, own, exclude=exclude)
        if not isinstance(found, list):
            return None
        if asked.is_reversed:
            found = [Direction(one.field, not one.is_descending, one.by_bytes) for one in found]
        return found


def way_of(queryset: QuerySet[Any]) -> Way | None:
    """The way to the rows of ``queryset``; None if none is declared."""
    registration = registry.get(queryset.model)
    conditions = None if registration is None else conditions_of(queryset)
    if registration is None or conditions is None:
        return None
    equal, pk = conditions.equal, registration.model._meta.pk.attname
    if pk in equal or conditions.within is not None:
        return Way(conditions, None, tuple(attname for attname in equal if attname != pk or conditions.within))
    key = _key_for(registration, equal)
    return None if key is None else Way(conditions, key, tuple(name for name in equal if name not in key.attnames))


def _key_for(registration: Registration, equal: Iterable[str]) -> ResolvedKey | None:
    """The declared key that the fewest rows have: a unique one, else the listing by the most columns."""
    known = set(equal)
    fitting = [key for key in registration.declared if key.kind != "derived" and known.issuperset(key.attnames)]
    return max(fitting, key=lambda key: (isinstance(key.declaration, Unique), len(key.fields)), default=None)


def serve(queryset: QuerySet[M], *, watcher: Tally | None = None) -> list[M] | None:
    """The rows that ``queryset`` asks for, or None if Django must answer.

    Args:
        queryset: Of any manager. It is not evaluated.
        watcher: What this read does is counted into it, beside the model's own counts.

    Round trips: one if found by primary key, two by a declared key, if all are hits.
    """
    way = way_of(queryset)
    return None if way is None else serve_by(way, queryset, watcher=watcher)


def serve_by(way: Way, queryset: QuerySet[M], *, watcher: Tally | None = None) -> list[M] | None:
    """``serve``, where the way is known."""
    rows: Any = queryset
    if rows._for_write:
        return None
    reading = begin_reading(queryset.model, alias_of(rows), is_last=True)
    order = None if reading is None else way.order
    if reading is None or order is None:
        return None
    if watcher is not None:
        reading.watched_by(watcher)
    found = _rows_by(way, reading)
    found = None if found is None else _passing(found, way, reading)
    if found is None:
        return None
    _sort(found, order, way, reading)
    instances: list[M] = reading.build(found[way.conditions.low : way.conditions.high])
    _add_known_related(rows, instances)
    give_fetch_mode(instances, getattr(queryset, "_fetch_mode", BY_ITSELF))
    return instances


def _rows_by(way: Way, reading: Reading[Any]) -> list[Row] | None:
    asked = way.conditions
    if way.key is None:
        pks = asked.within if asked.within is not None else (asked.equal[asked.model._meta.pk.attname],)
        by_pk = reading.rows(pks)
        return None if by_pk is None else list(by_pk.values())
    index = next(one for one in reading.place.indexes if one.key is way.key)
    found = reading.by_index(index, [[asked.equal[attname] for attname in way.key.attnames]])
    return None if found is None else next(iter(found.values()))


def _passing(rows: list[Row], way: Way, reading: Reading[Any]) -> list[Row] | None:
    """The rows that pass the further conditions; None if only the database can tell."""
    source = reading.place.source
    assert source is not None
    connection = connections[source.alias]
    for attname in way.further:
        if attname not in source.attnames:
            return None
        at, value = source.attnames.index(attname), way.conditions.equal[attname]
        field = way.conditions.model._meta.get_field(attname)
        key = column_key(field, connection, use_tz=conf.uses_time_zones())  # type: ignore[arg-type]  # a column
        if key is None:
            return None  # None may be a value of its own, as JSON's null, and another value be what NULL is read as
        if value is not None:
            value = key.value(value) if key.is_exact else None
            if value is None:
                return None
        rows = [row for row in rows if row[at] == value]
    return rows


def _sort(rows: list[Row], order: Sequence[Direction], way: Way, reading: Reading[Any]) -> None:
    source = reading.place.source
    assert source is not None
    if len(rows) > 1 and order:
        by_pk = Direction(way.conditions.model._meta.pk, is_descending=False)
        sorter([*order, by_pk], source.attnames, connections[source.alias])(rows)


def _add_known_related(queryset: Any, instances: Sequence[Model]) -> None:
    """``country.airports.all()``: each airport knows its country, as Django's own iteration says it."""
    for field, known in queryset._known_related_objects.items():
        names = [
            field.attname if name == "self" else queryset.model._meta.get_field(name).attname
            for name in field.from_fields
        ]
        value_of = attrgetter(*names)
        for instance in instances:
            related = None if field.is_cached(instance) else known.get(value_of(instance))
            if related is not None:
                setattr(instance, field.name, related)


def order_in_database(way: Way, queryset: QuerySet[Any]) -> list[Any] | None:
    """How Django must sort a listing that it reads itself, to give it as it is served; None if it does so anyway."""
    asked = way.conditions
    if way.key is None or not way.is_sorted_by_key or asked.order_by or not asked.default_ordering:
        return None
    assert isinstance(way.key.declaration, Listing)
    if not way.key.declaration.order_by and way.key.declaration.collation is None:
        return None
    alias = alias_of(queryset) or router.db_for_write(queryset.model)
    return in_database(way.key.order, connections[alias])

"""``Model.cached`` and ``Model.objects``.

``cached`` serves whole rows by primary key, by a declared ``Unique`` and from a declared ``Listing``, however a
queryset says it; and with it ``order.product``, where ``Product`` says ``base_manager_name = "cached"``. Whatever else
a queryset can do keeps Django's meaning and goes to the database, and so does a lookup whose meaning is Django's to say
(a primary key of another type, an expression).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, lru_cache, wraps
from typing import Any, TypeVar

import django
from asgiref.sync import sync_to_async
from django.db.models import Manager, Model, Prefetch, Q, QuerySet

from django_cacheaside.engine.source import Missing
from django_cacheaside.orm.conditions import conditions_of
from django_cacheaside.orm.index.declarations import Unique
from django_cacheaside.orm.peers import BY_ITSELF, give_fetch_mode
from django_cacheaside.orm.prefetch import prefetch
from django_cacheaside.orm.reading import Reading, alias_of, begin_reading
from django_cacheaside.orm.registry import registry
from django_cacheaside.orm.serving import order_in_database, serve_by, way_of
from django_cacheaside.orm.undeclared import notice_undeclared

M = TypeVar("M", bound=Model)
F = TypeVar("F")


def documented_by(method: Any) -> Callable[[F], F]:
    """``functools.wraps``, for an override: it keeps name, docstring and signature of what it stands for."""
    return wraps(method)  # type: ignore[return-value]


class CacheAsideQuerySet(QuerySet[M]):
    """The queryset of ``objects``: reads go to the database, every write invalidates."""


class CachedQuerySet(CacheAsideQuerySet[M]):
    """The queryset of ``cached``: whole rows found by equality are served from the cache."""

    _db: str | None
    _hints: dict[str, Any]
    _is_whole = False
    """True from the manager until the queryset is narrowed: the row of a primary key is its row, and all of it."""

    @documented_by(QuerySet.get)
    def get(self, *args: Any, **kwargs: Any) -> M:
        if self._is_whole:
            found = served(self.model, alias_of(self), _condition(args, kwargs))
            if found is not None:
                give_fetch_mode((found,), getattr(self, "_fetch_mode", BY_ITSELF))
                return found
        return super().get(*args, **kwargs)

    @documented_by(QuerySet.in_bulk)
    def in_bulk(self, id_list: Iterable[Any] | None = None, *, field_name: str = "pk") -> dict[Any, M]:
        if self._is_whole and id_list is not None:
            id_list = list(id_list)
            reading = begin_reading(self.model, alias_of(self))
            found = None if reading is None else served_in_bulk(reading, self.model, id_list, field_name)
            if found is not None:
                give_fetch_mode(found.values(), getattr(self, "_fetch_mode", BY_ITSELF))
                return found
        return super().in_bulk(id_list, field_name=field_name)

    @property
    def ordered(self) -> bool:
        """True if the rows come in an order that was asked for: by ``order_by()``, the model, or a ``Listing``."""
        if super().ordered:
            return True
        way = way_of(self)
        return way is not None and bool(way.order)

    def _fetch_all(self) -> None:
        rows: Any = self
        if rows._result_cache is not None or _rereads_instance(self):
            super()._fetch_all()
            return
        way = way_of(self)
        if way is None:
            notice_undeclared(self)
        else:
            rows._result_cache = serve_by(way, self)
        order = None if way is None or rows._result_cache is not None else order_in_database(way, self)
        query = self.query
        if order is not None:
            self.query = query.clone()
            self.query.add_ordering(*order)
        try:
            super()._fetch_all()
        finally:
            self.query = query

    @documented_by(QuerySet.using)
    def using(self, alias: str | None) -> CachedQuerySet[M]:
        return self._as_whole_as_this(super().using(alias))

    @documented_by(QuerySet.all)
    def all(self) -> CachedQuerySet[M]:
        return self._as_whole_as_this(super().all())

    if django.VERSION >= (6, 1):

        @documented_by(QuerySet.fetch_mode)
        def fetch_mode(self, fetch_mode: Any) -> CachedQuerySet[M]:
            return self._as_whole_as_this(super().fetch_mode(fetch_mode))

    def _chain(self) -> CachedQuerySet[M]:
        chained: CachedQuerySet[M] = super()._chain()  # type: ignore[misc]  # not in the stubs
        # from Django 6.1 on it may be this queryset itself: related managers narrow theirs in place
        chained._is_whole = False
        return chained

    def _as_whole_as_this(self, clone: Any) -> CachedQuerySet[M]:
        clone._is_whole = self._is_whole
        return clone  # type: ignore[no-any-return]


class CacheAsideManager(Manager.from_queryset(CacheAsideQuerySet)):  # type: ignore[misc]  # a base made at run time
    """The manager ``objects`` of a cached model: reads go to the database, every write invalidates."""


class CachedManager(Manager.from_queryset(CachedQuerySet)):  # type: ignore[misc]
    """The manager ``cached``, or ``objects`` where those reads shall be served too."""

    def get_queryset(self) -> CachedQuerySet[Any]:
        queryset: CachedQuerySet[Any] = super().get_queryset()
        queryset._is_whole = True
        return queryset

    @documented_by(QuerySet.get)
    def get(self, *args: Any, **kwargs: Any) -> Any:
        # without a queryset in between: it would take a fifth of the time of a hit
        if (
            not args
            and type(self).get_queryset is CachedManager.get_queryset
            and self._queryset_class.get is CachedQuerySet.get
        ):
            found = served(self.model, alias_of(self), kwargs)
            if found is not None:
                return found
        return self.get_queryset().get(*args, **kwargs)

    def prefetch(self, instances: Iterable[Model], *lookups: str | Prefetch[Any]) -> None:
        """Fill relations of instances through the cache: ``Product.cached.prefetch(products, "category__parent")``.

        As ``prefetch_related_objects``, each row from the database of the instance that refers to it. One round trip
        for each model on each level if all its rows are hits, else three.
        """
        prefetch(self.model, instances, *lookups)

    async def aprefetch(self, instances: Iterable[Model], *lookups: str | Prefetch[Any]) -> None:
        """``prefetch`` for coroutines."""
        await sync_to_async(self.prefetch)(instances, *lookups)


def _rereads_instance(rows: Any) -> bool:
    """Is it ``refresh_from_db()``, or the load of a deferred column? Who asks for that means the database."""
    instance = rows._hints.get("instance")
    if not isinstance(instance, rows.model) or rows._fields is not None:
        return False
    conditions = conditions_of(rows.defer(None))
    return conditions is not None and conditions.equal == {instance._meta.pk.attname: instance.pk}


def _condition(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
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


def served(model: type[M], alias: str | None, lookup: dict[str, Any]) -> M | None:
    """The instance that ``get(**lookup)`` returns, from the cache; None if Django must answer.

    Raises:
        Model.DoesNotExist: There is no such row.
    """
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


def served_in_bulk(reading: Reading[M], model: type[M], values: list[Any], field_name: str) -> dict[Any, M] | None:
    """What ``in_bulk(values, field_name=…)`` returns, from the cache; None if Django must answer."""
    if field_name in ("pk", model._meta.pk.name):
        return reading.many(values)
    unique = _unique_of(model, frozenset([field_name]))
    if unique is None or model._meta.get_field(field_name).is_relation:
        return None
    found = reading.by_index(reading.place.indexes[unique[0]], [[value] for value in values])
    if found is None or any(rows is None or len(rows) > 1 for rows in found.values()):
        return None
    by_value = {values[0]: rows[0] for values, rows in found.items() if rows}
    return dict(zip(by_value, reading.build(by_value.values()), strict=True))


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

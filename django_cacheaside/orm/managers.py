"""``Model.cached`` and ``Model.objects``.

``cached`` serves ``get(pk=…)`` and ``in_bulk(ids)``, their ``a…`` twins and ``using()``. Whatever else a queryset can
do keeps Django's meaning and goes to the database, and so does a lookup whose meaning is Django's to say (a primary
key of another type, None, an expression).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, wraps
from typing import Any, TypeVar

from django.db.models import Manager, Model, QuerySet

from django_cacheaside.engine.source import Missing
from django_cacheaside.orm.reading import begin_reading

M = TypeVar("M", bound=Model)
F = TypeVar("F")


def documented_by(method: Any) -> Callable[[F], F]:
    """``functools.wraps``, for an override: it keeps name, docstring and signature of what it stands for."""
    return wraps(method)  # type: ignore[return-value]


class CacheAsideQuerySet(QuerySet[M]):
    """The queryset of ``objects``: reads go to the database, every write invalidates."""


class CachedQuerySet(CacheAsideQuerySet[M]):
    """The queryset of ``cached``: whole rows by primary key are served from the cache."""

    _db: str | None
    _is_whole = False
    """True from the manager until the queryset is narrowed: the row of a primary key is its row, and all of it."""

    @documented_by(QuerySet.get)
    def get(self, *args: Any, **kwargs: Any) -> M:
        if self._is_whole and not args:
            found = served(self.model, self._db, kwargs)
            if found is not None:
                return found
        return super().get(*args, **kwargs)

    @documented_by(QuerySet.in_bulk)
    def in_bulk(self, id_list: Iterable[Any] | None = None, *, field_name: str = "pk") -> dict[Any, M]:
        if self._is_whole and id_list is not None and field_name in ("pk", self.model._meta.pk.name):
            id_list = list(id_list)
            reading = begin_reading(self.model, self._db)
            found = None if reading is None else reading.many(id_list)
            if found is not None:
                return found
        return super().in_bulk(id_list, field_name=field_name)

    @documented_by(QuerySet.using)
    def using(self, alias: str | None) -> CachedQuerySet[M]:
        return self._as_whole_as_this(super().using(alias))

    @documented_by(QuerySet.all)
    def all(self) -> CachedQuerySet[M]:
        return self._as_whole_as_this(super().all())

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
            found = served(self.model, self._db, kwargs)
            if found is not None:
                return found
        return self.get_queryset().get(*args, **kwargs)


def served(model: type[M], alias: str | None, lookup: dict[str, Any]) -> M | None:
    """The instance that ``get(**lookup)`` returns, from the cache; None if Django must answer.

    Raises:
        Model.DoesNotExist: There is no such row.
    """
    if len(lookup) != 1:
        return None
    ((name, value),) = lookup.items()
    if name not in _lookups_of_pk(model):
        return None
    reading = begin_reading(model, alias)
    found = None if reading is None else reading.one(value)
    if isinstance(found, Missing):
        does_not_exist: type[Exception] = model.DoesNotExist  # type: ignore[attr-defined]  # made with the class
        raise does_not_exist(f"{model._meta.object_name} matching query does not exist.")
    return found


@cache
def _lookups_of_pk(model: type[Model]) -> frozenset[str]:
    """The ways to say "by primary key" in a lookup."""
    pk = model._meta.pk
    return frozenset(name + exact for name in ("pk", pk.name, pk.attname) for exact in ("", "__exact"))

"""``Model.cached`` and ``Model.objects``.

``cached`` serves whole rows by primary key, by a declared ``Unique`` and from a declared ``Listing``, however a
queryset says it; and with it ``order.product``, where ``Product`` says ``base_manager_name = "cached"``. Whatever else
a queryset can do keeps Django's meaning and goes to the database, and so does a lookup whose meaning is Django's to say
(a primary key of another type, an expression).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import django
from asgiref.sync import sync_to_async
from django.db.models import Manager, Model, Prefetch, QuerySet

from django_cacheaside.later import later
from django_cacheaside.orm.peers import BY_ITSELF, give_fetch_mode

if TYPE_CHECKING:
    from django_cacheaside.orm import lookups, prefetch
else:
    lookups = later("django_cacheaside.orm.lookups")
    prefetch = later("django_cacheaside.orm.prefetch")

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
            found: M | None = lookups.served(self, lookups.condition(args, kwargs))
            if found is not None:
                give_fetch_mode((found,), getattr(self, "_fetch_mode", BY_ITSELF))
                return found
        return super().get(*args, **kwargs)

    @documented_by(QuerySet.in_bulk)
    def in_bulk(self, id_list: Iterable[Any] | None = None, *, field_name: str = "pk") -> dict[Any, M]:
        if self._is_whole and id_list is not None:
            id_list = list(id_list)
            found = lookups.served_in_bulk(self, id_list, field_name)
            if found is not None:
                give_fetch_mode(found.values(), getattr(self, "_fetch_mode", BY_ITSELF))
                return found
        return super().in_bulk(id_list, field_name=field_name)

    @property
    def ordered(self) -> bool:
        """True if the rows come in an order that was asked for: by ``order_by()``, the model, or a ``Listing``."""
        return super().ordered or lookups.is_ordered_by_key(self)

    def _fetch_all(self) -> None:
        rows: Any = self
        order = None
        if rows._result_cache is None:
            rows._result_cache, order = lookups.served_rows(self)
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
            found = lookups.served(self, kwargs)
            if found is not None:
                return found
        return self.get_queryset().get(*args, **kwargs)

    def prefetch(self, instances: Iterable[Model], *lookups: str | Prefetch[Any]) -> None:
        """Fill relations of instances through the cache: ``Product.cached.prefetch(products, "category__parent")``.

        As ``prefetch_related_objects``, each row from the database of the instance that refers to it. One round trip
        for each model on each level if all its rows are hits, else three.
        """
        prefetch.prefetch(self.model, instances, *lookups)

    async def aprefetch(self, instances: Iterable[Model], *lookups: str | Prefetch[Any]) -> None:
        """``prefetch`` for coroutines."""
        await sync_to_async(self.prefetch)(instances, *lookups)

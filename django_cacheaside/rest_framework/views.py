"""``CacheAsideViewMixin``: what a view of Django REST framework asks the cache, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import connections, router
from django.db.models import Manager, Model, QuerySet, prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponseNotModified
from django.http.response import HttpResponseBase
from rest_framework.generics import GenericAPIView, get_object_or_404
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request, override_method
from rest_framework.response import Response
from rest_framework.status import HTTP_200_OK

from django_cacheaside.exceptions import CacheAsideOverloaded
from django_cacheaside.orm.conditions import conditions_of
from django_cacheaside.orm.managers import CachedManager, CachedQuerySet
from django_cacheaside.orm.reading import alias_of
from django_cacheaside.orm.serving import serve
from django_cacheaside.orm.switch import disabled
from django_cacheaside.rest_framework.cache_status import HEADER, Reads, Way, member
from django_cacheaside.rest_framework.etags import etag_of, is_page, parts_of_request, parts_of_serializer
from django_cacheaside.rest_framework.overload import OverloadedError
from django_cacheaside.rest_framework.preconditions import NotModifiedError, demand, is_conditional

_PLAIN_GET = (QuerySet.get, CachedQuerySet.get, Manager.get, CachedManager.get)


class CacheAsideViewMixin(GenericAPIView[Any]):
    """For generic views and viewsets, before their other bases: rows from the cache, ETags and ``Cache-Status``.

    ``get_object()`` is served where the view's queryset, what the filter backends make of it and the lookup are
    equality on columns of the row; else the database is asked. A row that the queryset excludes is a 404, and
    permissions are asked on every request, hit or not. A request that writes reads its row from the database.
    """

    cache_status_name: ClassVar[str | None] = "CacheAside"
    """This cache's name in ``Cache-Status``; None for no such header."""

    has_etag: ClassVar[bool] = True
    """False: no ETags, and preconditions mean nothing, as in a view without this mixin."""

    _asked_for: Model | None = None

    def get_object(self) -> Any:
        """As Django REST framework's. Where the URL is the row's own, preconditions are judged here.

        Raises:
            Http404: There is no such row, or the queryset excludes it.
            NotModifiedError: It is what the client has. Answered with 304.
            PreconditionFailedError: It is not what the client demands. Answered with 412.
        """
        queryset = self.filter_queryset(self.get_queryset())
        kwarg = self.lookup_url_kwarg or self.lookup_field
        assert kwarg in self.kwargs, (
            f"{type(self).__name__} looks its row up by the URL's {kwarg!r}, and its URL pattern has none: "
            "name it there, or set lookup_field or lookup_url_kwarg."
        )
        instance = self._read(queryset, {self.lookup_field: self.kwargs[kwarg]})
        self.check_object_permissions(self.request, instance)
        self._asked_for = instance
        if self.has_etag and self._is_at_url_of_row() and is_conditional(self._http):
            demand(self._http, self._etag_that_get_gives(instance))
        return instance

    def get_etag_parts(self, instance: Any) -> list[object] | None:  # noqa: ARG002  for those who override it
        """What the representation is made of beside the row's columns: values, and other rows.

        For a view whose serializer shows more than columns: ``return [airport.country]``. Media type, API version,
        user, language and time zone are always told. None: an ETag only if the serializer is seen to show nothing but
        columns.
        """
        return None

    def paginate_queryset(self, queryset: Any) -> list[Any] | None:
        """A page as the paginator makes it; without one, the whole list from the cache where it is served."""
        if self.paginator is not None or not isinstance(queryset, QuerySet) or self._http.method not in SAFE_METHODS:
            return super().paginate_queryset(queryset)
        rows = serve(_as_django_sorts(queryset), watcher=self._reads.tally)
        self._reads.went(Way.BYPASS if rows is None else Way.CACHE)
        if rows:
            _prefetch(queryset, rows)
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        """What the paginator wraps around a page; a list without one stays as it is."""
        return Response(data) if self.paginator is None else super().get_paginated_response(data)

    def handle_exception(self, exc: Exception) -> Any:
        """As Django REST framework's; and 304, and 503 for a read that ``FALLBACK_LIMIT`` refuses."""
        if isinstance(exc, NotModifiedError):
            return HttpResponseNotModified(headers={"ETag": exc.etag} if exc.etag else {})
        if isinstance(exc, CacheAsideOverloaded):
            exc = OverloadedError()
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """As Django REST framework's, with ``ETag`` and ``Cache-Status``: on every answer, 304 included."""
        response = super().finalize_response(request, response, *args, **kwargs)
        etag = self._etag_of_response(response)
        if etag:
            response.headers.setdefault("ETag", etag)
        if self.cache_status_name is not None:
            ours = member(self.cache_status_name, self._reads.parameters())
            nearer_to_origin = response.headers.get(HEADER)
            response.headers[HEADER] = f"{nearer_to_origin}, {ours}" if nearer_to_origin else ours
        return response

    @property
    def _http(self) -> HttpRequest:
        """What was really sent: ``OPTIONS`` and the browsable API try other methods on a copy of ``self.request``."""
        http: HttpRequest = getattr(self.request, "_request", self.request)
        return http

    @cached_property
    def _reads(self) -> Reads:
        return Reads()  # a view is made for one request

    def _read(self, queryset: Any, lookup: dict[str, Any]) -> Any:
        if isinstance(queryset, Manager) and type(queryset).get in _PLAIN_GET:
            queryset = queryset.all()
        is_plain = isinstance(queryset, QuerySet) and type(queryset).get in _PLAIN_GET
        try:
            narrowed = queryset.filter(**lookup) if is_plain else None
        except (TypeError, ValueError, ValidationError):  # as get_object_or_404: text that is no such key
            raise Http404 from None
        if self._http.method not in SAFE_METHODS:
            self._reads.went(Way.METHOD)
            return self._newest(queryset, narrowed, lookup)
        rows = None if narrowed is None else serve(narrowed, watcher=self._reads.tally)
        if rows is None or len(rows) > 1:  # more than one is an error, and Django's to raise
            self._reads.went(Way.BYPASS)
            return get_object_or_404(queryset, **lookup)
        self._reads.went(Way.CACHE)
        if not rows:
            raise Http404(f"No {queryset.model._meta.object_name} matches the given query.")
        _prefetch(queryset, rows)
        return rows[0]

    def _newest(self, queryset: Any, narrowed: QuerySet[Any] | None, lookup: dict[str, Any]) -> Any:
        """The row for a request that writes: from the primary, for it will be saved.

        In a transaction the row of a conditional request is locked, so that nobody writes between check and save.
        """
        if isinstance(queryset, QuerySet):
            alias = alias_of(queryset) or router.db_for_write(queryset.model)
            queryset = queryset.using(alias)
            is_lockable = (
                narrowed is not None and conditions_of(narrowed) is not None
            )  # no join, no groups, no DISTINCT
            if is_lockable and is_conditional(self._http) and connections[alias].in_atomic_block:
                queryset = queryset.select_for_update()
        with disabled():
            return get_object_or_404(queryset, **lookup)

    def _is_at_url_of_row(self) -> bool:
        """Is the row's representation what GET gives here? Not so at an extra action's URL."""
        if self._http.method in ("OPTIONS", "TRACE"):
            return False  # they have no preconditions
        actions = getattr(self, "action_map", None)
        return hasattr(self, "retrieve") if actions is None else actions.get("get") == "retrieve"

    def _etag_that_get_gives(self, instance: Any) -> str | None:
        def serializer() -> object:
            return self.get_serializer(instance)

        if self._http.method in SAFE_METHODS:
            return self._etag(instance, serializer)
        with override_method(self, self.request, "GET"):  # the serializer of writes may be another one
            return self._etag(instance, serializer)

    def _etag(self, instance: Any, serializer: Callable[[], object]) -> str | None:
        """Of an instance and, unless the view says what else there is, of its serializer."""
        if is_page(self.request):
            return None
        told: Any = self.get_etag_parts(instance)
        is_told = told is not None
        if not is_told:
            told = parts_of_serializer(serializer(), instance)
        return None if told is None else etag_of(instance, is_told, *parts_of_request(self.request), *told)

    def _etag_of_response(self, response: HttpResponseBase) -> str | None:
        """The ETag of what GET answered, if that is the row as its serializer shows it."""
        instance = self._asked_for
        if (
            instance is None
            or not self.has_etag
            or response.status_code != HTTP_200_OK
            or self._http.method not in ("GET", "HEAD")
            or not self._is_at_url_of_row()
        ):
            return None
        data = getattr(response, "data", None)  # a ReturnDict knows who made it; what a view put together does not
        return self._etag(instance, lambda: getattr(data, "serializer", None))


def _prefetch(queryset: Any, rows: list[Any]) -> None:
    """What the queryset would do after its SELECT."""
    prefetch_related_objects(rows, *queryset._prefetch_related_lookups)


def _as_django_sorts(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """A queryset that says how it is sorted: without it, a ``Listing`` would be served in its own order."""
    query = queryset.query
    if isinstance(queryset, CachedQuerySet) or query.order_by or not query.default_ordering or query.is_sliced:
        return queryset
    return queryset.order_by(*queryset.model._meta.ordering)

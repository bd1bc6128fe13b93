"""An API over the tests' models: views made as a test needs them, visited by users."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.test import override_settings
from django.urls import path
from rest_framework import generics, renderers, serializers
from rest_framework.test import APIClient

from django_cacheaside.rest_framework import CacheAsideViewMixin


def serializer_of(model: type[models.Model], *fields: str, **declared: Any) -> type[serializers.ModelSerializer[Any]]:
    """A serializer of some columns, or of all but the secret one."""
    shown = fields or [field.name for field in model._meta.concrete_fields if field.name != "secret"]
    meta = type("Meta", (), {"model": model, "fields": [*dict.fromkeys([*shown, *declared])]})
    return type(f"{model.__name__}Serializer", (serializers.ModelSerializer,), {"Meta": meta, **declared})


def view_of(
    model: type[models.Model],
    rows: Callable[[Any], Any],
    *bases: type,
    mixin: type = CacheAsideViewMixin,
    **attributes: Any,
) -> type[generics.GenericAPIView[Any]]:
    """A view class.

    Args:
        rows: From the view to its queryset.
        bases: Django REST framework's; those of a view of one row by default.
        mixin: ``object`` for what the view is without ours.
    """
    attributes = {
        "get_queryset": rows,
        "renderer_classes": [renderers.JSONRenderer],
        "authentication_classes": [],
        "serializer_class": serializer_of(model),
        **attributes,
    }
    mixins = () if mixin is object else (mixin,)
    return type("View", (*mixins, *(bases or (generics.RetrieveUpdateDestroyAPIView,))), attributes)


class Api:
    """A server with the views of one test, and a client of one user at a time."""

    def __init__(self, db: str) -> None:
        self.db = db
        self.user: Any = AnonymousUser()
        self._overrides: list[Any] = []

    def at(self, *patterns: Any) -> None:
        """Take URL patterns until the test ends."""
        override = override_settings(ROOT_URLCONF=type("Urls", (), {"urlpatterns": list(patterns)}))
        override.enable()
        self._overrides.append(override)

    def serves(self, model: type[models.Model], rows: Callable[[Any], Any], *bases: type, **attributes: Any) -> Api:
        """Give ``/<pk>/`` a view; arguments as ``view_of`` has them."""
        self.at(path("<path:pk>/", view_of(model, rows, *bases, **attributes).as_view()))
        return self

    def close(self) -> None:
        """Give the URLs back."""
        while self._overrides:
            self._overrides.pop().disable()

    def __call__(self, method: str, pk: Any, data: Any = None, **headers: str) -> Any:
        """Send a request: headers by their names, ``if_match=…``."""
        http = APIClient(raise_request_exception=True)
        http.force_authenticate(self.user)
        url = pk if str(pk).startswith("/") else f"/{pk}/"
        body = {} if data is None else {"data": json.dumps(data), "content_type": "application/json"}
        return http.generic(method, url, headers={name.replace("_", "-"): to for name, to in headers.items()}, **body)

    def get(self, pk: Any, **headers: str) -> Any:
        return self("GET", pk, **headers)

"""What ``cached`` is asked for and nobody declared: allowed, warned of, or refused, by ``UNDECLARED``."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from django.db.models import QuerySet

from django_cacheaside.exceptions import UndeclaredLookupError, UndeclaredLookupWarning
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry

_NOT_THE_CALLER = ("django.", "django_cacheaside.", "asgiref.")


def notice_undeclared(queryset: QuerySet[Any]) -> None:
    """Say that the database will answer ``queryset``. One without conditions asks for nothing that could be declared.

    Raises:
        UndeclaredLookupError: ``UNDECLARED`` is "raise".
    """
    registration = registry.get(queryset.model)
    if registration is None or not queryset.query.where:
        return
    said = runtime.current().settings.UNDECLARED
    if said == "allow":
        return
    model = queryset.model._meta
    keys = ", ".join(map(repr, registration.options.keys)) or "none"
    text = (
        f"{model.label}.cached was asked for {queryset.query.where}, which is no declared key: the database answers. "
        f"Declared are the primary key and: {keys}. Declare it, or ask {model.object_name}.objects."
    )
    if said == "raise":
        raise UndeclaredLookupError(text)
    warnings.warn(text, UndeclaredLookupWarning, stacklevel=_depth_of_caller())


def _depth_of_caller() -> int:
    """How far up the first caller is that is neither ours nor Django's: for ``stacklevel``."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_NOT_THE_CALLER):
        depth, frame = depth + 1, frame.f_back
    return depth

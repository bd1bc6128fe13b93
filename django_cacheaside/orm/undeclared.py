"""What ``cached`` is asked for and nobody declared: allowed, warned of, or refused, by ``UNDECLARED``."""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Any

from django.db.models import QuerySet

from django_cacheaside.exceptions import UndeclaredLookupError, UndeclaredLookupWarning
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry

_NOT_THE_CALLER = ("django.", "django_cacheaside.", "asgiref.")
_QUERYSETS = ("django.db.models.query", "django.db.models.manager", "django_cacheaside.")
_ORM = "django.db.models."


def notice_undeclared(queryset: QuerySet[Any]) -> None:
    """Say that the database will answer ``queryset``. One without conditions asks for nothing that could be declared.

    Nobody chose ``cached`` for what Django reads for itself; with ``base_manager_name = "cached"`` it comes here too.

    Raises:
        UndeclaredLookupError: ``UNDECLARED`` is "raise".
    """
    registration = registry.get(queryset.model)
    if registration is None or not queryset.query.where:
        return
    said = runtime.current().settings.UNDECLARED
    if said == "allow" or _is_meant_for_the_database(queryset) or _is_asked_by_the_orm():
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


def _is_meant_for_the_database(queryset: Any) -> bool:
    """Does it read in order to write, does it follow a relation, or does it ask for no row at all?"""
    return queryset._for_write or "instance" in queryset._hints or queryset.query.is_empty()


def _is_asked_by_the_orm() -> bool:
    """Does Django evaluate a queryset that it made itself, as the collector of a ``delete()`` does?

    Not so where its shortcuts, pages, forms and templates evaluate one: that is somebody's own.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_QUERYSETS):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").startswith(_ORM)


def _depth_of_caller() -> int:
    """How far up the first caller is that is neither ours nor Django's: for ``stacklevel``."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_NOT_THE_CALLER):
        depth, frame = depth + 1, frame.f_back
    return depth

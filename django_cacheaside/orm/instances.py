"""Model instances from column values, as ``from_db`` makes them.

Where nothing of the model overrides how it is built, its ``__dict__`` is set directly: a fifth of the time. A column
that is not among the values is deferred, which to Django means: its attname is not in ``__dict__``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from inspect import getattr_static
from typing import Any

from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

Build = Callable[[str, Iterable[Sequence[Any]]], list[Model]]
"""A function of an alias and rows, each the values of the same columns, that returns saved instances in their order."""

_PASSIVE = (DeferredAttribute, ForeignKeyDeferredAttribute, FileDescriptor, ImageFileDescriptor)


def instance_builder(model: type[Model], attnames: Sequence[str], *, mark: str | None = None) -> Build:
    """How instances of ``model`` are made of values of ``attnames``.

    Args:
        mark: An attribute that is True on their ``_state``.
    """

    def by_from_db(alias: str, rows: Iterable[Sequence[Any]]) -> list[Model]:
        made = [model.from_db(alias, attnames, values) for values in rows]
        if mark is not None:
            for instance in made:
                setattr(instance._state, mark, True)
        return made

    if not _is_built_plainly(model, attnames):
        return by_from_db
    by_dict = _compiled(model, attnames, mark)

    def by_dict_unless_listened_to(alias: str, rows: Iterable[Sequence[Any]]) -> list[Model]:
        # asked for the model only if anybody listens at all: that is a look into a dict of weak references
        if (post_init.receivers and post_init.has_listeners(model)) or (
            pre_init.receivers and pre_init.has_listeners(model)
        ):
            return by_from_db(alias, rows)
        return by_dict(alias, rows)

    return by_dict_unless_listened_to


def _compiled(model: type[Model], attnames: Sequence[str], mark: str | None) -> Build:
    """The loop with the columns written out, as ``dataclasses`` writes an ``__init__``: a third less time than zip."""
    columns = [f"column_{at}" for at in range(len(attnames))]
    items = ", ".join(f"{attname!r}: {column}" for attname, column in zip(attnames, columns, strict=True))
    marked = "" if mark is None else f"state.{mark} = True"
    text = f"""
def by_dict(alias, rows):
    made = []
    for {", ".join(columns)}, in rows:
        instance = new(model)
        state = new(ModelState)
        state.adding = False
        state.db = alias
        {marked}
        instance.__dict__ = {{"_state": state, {items}}}
        made.append(instance)
    return made
"""
    names: dict[str, Any] = {"new": object.__new__, "model": model, "ModelState": ModelState}
    exec(text, names)  # noqa: S102  nothing in it but numbers and the model's attribute names, quoted
    build: Build = names["by_dict"]
    return build


def _is_built_plainly(model: type[Model], attnames: Sequence[str]) -> bool:
    """Does setting ``__dict__`` leave the instance as ``Model.__init__`` would?"""
    return (
        getattr(model.from_db, "__func__", None) is Model.from_db.__func__  # type: ignore[attr-defined]
        and all(
            getattr_static(model, name, None) is getattr_static(Model, name, None)
            for name in ("__init__", "__new__", "__setattr__")
        )
        and all(type(getattr_static(model, attname)) in _PASSIVE for attname in attnames)
    )

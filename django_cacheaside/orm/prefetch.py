"""Rows that instances refer to, through the cache: ``cached.prefetch(products, "category__parent")``.

``prefetch_related_objects`` with another source: level by level, and all rows of one model on one level are one batch.
What is no foreign key to the primary key of a cached model is Django's own prefetch, one level of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from django.core.exceptions import ObjectDoesNotExist
from django.db import router
from django.db.models import ForeignKey, Model, Prefetch, prefetch_related_objects
from django.db.models.constants import LOOKUP_SEP
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor, ForwardOneToOneDescriptor
from django.db.models.query import get_prefetcher

from django_cacheaside.orm.peers import BY_ITSELF, give_fetch_mode
from django_cacheaside.orm.reading import begin_reading
from django_cacheaside.orm.registry import registry

Tree: TypeAlias = dict[str, "Tree"]
"""Lookups by their parts: those that begin alike share their levels."""

Relation: TypeAlias = "ForeignKey[Any, Any]"


def prefetch(model: type[Model], instances: Iterable[Model], *lookups: str | Prefetch[Any]) -> None:
    """Fill the relations of instances that exist already, as ``prefetch_related_objects`` does.

    Args:
        instances: Of ``model``. Each is served from the database that it was read from. Relations that are loaded are
            followed, not loaded again; those that refer to one row share one instance.
        lookups: As for ``prefetch_related``. A ``Prefetch`` is Django's, and done first.

    Raises:
        TypeError: An instance is of another model.
        AttributeError, ValueError: As ``prefetch_related_objects`` does, for a lookup that leads nowhere.

    Round trips: one for each model on each level if all its rows are hits, else three.
    """
    of_database: dict[str | None, list[Model]] = {}
    concrete = model._meta.concrete_model or model
    for instance in instances:
        if not isinstance(instance, concrete):
            raise TypeError(
                f"{model._meta.object_name}'s manager prefetches for instances of its model, "
                f"not for {type(instance).__name__}. Ask that model's, or use prefetch_related_objects()."
            )
        of_database.setdefault(instance._state.db, []).append(instance)
    by_django = [lookup for lookup in lookups if isinstance(lookup, Prefetch)]
    tree = _tree(lookup for lookup in lookups if not isinstance(lookup, Prefetch))
    for rows in of_database.values():
        prefetch_related_objects(rows, *by_django)
        _fill(rows, tree)


def cached_relation(descriptor: object) -> Relation | None:
    """The foreign key behind a model's attribute, if whole rows of a cached model stand at its other end."""
    if type(descriptor) not in (ForwardManyToOneDescriptor, ForwardOneToOneDescriptor):
        return None
    field = descriptor.field  # type: ignore[attr-defined]  # one of the two
    target = field.remote_field.model
    is_by_pk = isinstance(field, ForeignKey) and field.foreign_related_fields == (target._meta.pk,)
    return field if is_by_pk and registry.get(target) is not None and _has_every_row(target) else None


def _has_every_row(target: type[Model]) -> bool:
    """Does the manager by which Django follows relations hide nothing?"""
    get_queryset = type(target._base_manager).get_queryset
    return get_queryset.__module__.partition(".")[0] in ("django", "django_cacheaside")


def _tree(lookups: Iterable[str]) -> Tree:
    tree: Tree = {}
    for lookup in lookups:
        branch = tree
        for name in lookup.split(LOOKUP_SEP):
            branch = branch.setdefault(name, {})
    return tree


def _fill(rows: list[Model], tree: Tree) -> None:
    level = [(rows, tree)]
    while level:
        batches: dict[tuple[type[Model], str], list[tuple[Relation, list[Model]]]] = {}
        for rows, branches in level:
            for name, further in branches.items():
                relation = cached_relation(getattr(type(rows[0]), name, None))
                if relation is None:
                    _fill_by_django(rows, name, is_last=not further)
                elif lacking := [row for row in rows if not relation.is_cached(row)]:
                    target = relation.remote_field.model
                    batch = target, router.db_for_write(target, instance=lacking[0])
                    batches.setdefault(batch, []).append((relation, lacking))
        for (target, alias), relations in batches.items():
            _fill_by_cache(target, alias, relations)
        level = [
            (reached, further)
            for rows, branches in level
            for name, further in branches.items()
            if further and (reached := _reached(rows, name))
        ]


def _fill_by_django(rows: list[Model], name: str, *, is_last: bool) -> None:
    prefetcher, _, is_known, _ = get_prefetcher(rows[0], name, name)
    if prefetcher is not None or is_last or not is_known:  # else an attribute that leads on, such as a property
        prefetch_related_objects(rows, name)


def _fill_by_cache(target: type[Model], alias: str, relations: list[tuple[Relation, list[Model]]]) -> None:
    referring = [(relation, row, getattr(row, relation.attname)) for relation, rows in relations for row in rows]
    pks = [pk for _, _, pk in referring if pk is not None]
    reading = begin_reading(target, alias, is_last=True) if pks else None
    found = reading.many(pks) if reading else None
    if found is None and pks:
        for relation, rows in relations:
            prefetch_related_objects(rows, relation.name)
        return
    found = found or {}
    give_fetch_mode(found.values(), getattr(referring[0][1]._state, "fetch_mode", BY_ITSELF))
    for relation, row, pk in referring:
        related = None if pk is None else found.get(relation.to_python(pk))
        relation.set_cached_value(row, related)
        if related is not None and not relation.remote_field.multiple:
            relation.remote_field.set_cached_value(related, row)


def _reached(rows: list[Model], name: str) -> list[Model]:
    """The rows at the other end, each instance once."""
    reached: dict[int, Model] = {}
    for row in rows:
        prefetched = getattr(row, "_prefetched_objects_cache", {})
        try:
            related = list(prefetched[name]) if name in prefetched else getattr(row, name)
        except ObjectDoesNotExist:
            continue
        if related is not None:
            reached |= {id(one): one for one in (related if isinstance(related, list) else [related])}
    return list(reached.values())

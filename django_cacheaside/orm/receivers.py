"""What signals add to the write set: every key of the registry that an instance has.

One of two sources; the net is the other, and neither asks what the other knows. Receivers are connected by sender:
one for every sender would turn fast deletes off for all models of the project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from django_cacheaside.later import later
from django_cacheaside.orm.registry import Registration, registry

if TYPE_CHECKING:
    from django_cacheaside.orm import connection_state, near, runtime
    from django_cacheaside.orm.index.index import Index
    from django_cacheaside.store.writes import Writes
else:
    connection_state = later("django_cacheaside.orm.connection_state")
    near = later("django_cacheaside.orm.near")
    runtime = later("django_cacheaside.orm.runtime")


def connect_receivers(model: type[Model]) -> None:
    """Hear of saves and deletes of ``model``. Idempotent."""
    for signal in (post_save, post_delete):
        signal.connect(_add_keys, sender=model, dispatch_uid=f"django_cacheaside.{model._meta.label}")
    registration = registry.get(model)
    if registration is not None and registration.options.near is not None:
        near.guard_saves(model)


def _add_keys(sender: type[Model], *, instance: Model, using: str, **_: Any) -> None:
    """In a transaction, note the keys for its COMMIT. In autocommit the net has worked around the statement itself."""
    connection = connections[using]
    state = connection_state.state_of(connection)
    if not connection_state.is_in_transaction(connection, state):
        return
    state.has_written = True
    for registration in registrations_of(sender):
        place = runtime.current().place(registration, connection)
        pk = getattr(instance, registration.model._meta.pk.attname)
        value = None if place.key is None else place.key.value(pk)
        if place.key is None or value is None:
            state.writes.add_model(place.space)
        else:
            state.writes.add_rows(place.space, [place.key.ident(value)])
        for index in place.indexes:
            _add_declared(state.writes, index, instance)


def _add_declared(writes: Writes, index: Index, instance: Model) -> None:
    """The key of an instance's own values, as far as it has them: what it has not, the net asks the database for."""
    known = vars(instance)
    if index.naming is None or not all(attname in known for attname in index.key.attnames):
        return
    values = index.naming.values([known[attname] for attname in index.key.attnames])
    if values is not None:
        writes.add_rows(index.space, [index.naming.ident(values)])


def registrations_of(model: type[Model]) -> list[Registration]:
    """The cached models whose row a save of ``model`` writes: itself and its parents.

    A child's save signals only itself.
    """
    concrete = model._meta.concrete_model or model
    return [found for one in (concrete, *concrete._meta.get_parent_list()) if (found := registry.get(one)) is not None]

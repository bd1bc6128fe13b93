"""Invalidation by hand, for writes that Django does not see: psql, another service, a trigger."""

from __future__ import annotations

from typing import Any

from django.db import connections, router
from django.db.models import Model

from django_cacheaside.orm import runtime
from django_cacheaside.orm.connection_state import is_in_transaction, state_of
from django_cacheaside.orm.receivers import registrations_of
from django_cacheaside.orm.registry import refuse_no_model, registry
from django_cacheaside.store.writes import Writes


def invalidate(what: Model | type[Model], *pks: Any, using: str | None = None) -> None:
    """Drop what is cached of an instance, of rows, or of a whole model.

        invalidate(product)          its row
        invalidate(Product, 1, 2)    these rows
        invalidate(Product)          all of them, O(1)

    Declared keys (``Unique``, ``Listing``, ``Derived``) of the model are dropped as a whole in each case.

    In a transaction it is done at its COMMIT, as for any write; otherwise now, in one round trip. If the server is away
    it is done as soon as it answers. Call it after the change: a reader in between may cache what was there before.

    Args:
        using: The database; by default the instance's own, or the router's choice for writes.

    Raises:
        LookupError: The model is not cached; the message lists those that are.
        TypeError: Primary keys beside an instance; or neither an instance nor a model's class: of a queryset's rows
            pass the model and their primary keys.
    """
    if isinstance(what, Model):
        if pks:
            raise TypeError("invalidate(instance) takes no primary keys; for several rows: invalidate(Model, pk, pk)")
        model, pks, using = type(what), (what.pk,), using or what._state.db
    else:
        refuse_no_model(what, call="invalidate(Model, pk, …)")
        model = what
    connection = connections[using or router.db_for_write(model)]
    registrations = registrations_of(model)
    if not registrations:
        registry.for_model(model)  # raises
    writes = Writes()
    for registration in registrations:
        place = runtime.current().place(registration, connection)
        values = [place.key.value(pk) for pk in pks] if place.key else []
        if place.key is None or not values or None in values:
            writes.add_model(place.space)
        else:
            writes.add_rows(place.space, map(place.key.ident, values))
        for index in place.indexes:  # under which values the rows are found now is for the database to say
            writes.add_model(index.space)
    state = state_of(connection)
    if is_in_transaction(connection, state):
        state.has_written = True
        state.writes.absorb(writes)
    else:
        runtime.current().invalidator.invalidate(writes)

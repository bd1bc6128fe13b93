"""All that is cached of one database, taken whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cacheaside.keys import KeySpace
from django_cacheaside.orm.registry import registry
from django_cacheaside.orm.runtime import Runtime
from django_cacheaside.store.writes import Writes


def used_spaces(current: Runtime, connection: BaseDatabaseWrapper) -> Iterator[KeySpace]:
    """The keys of every model that was used in a database: of rows and indexes, in all namespaces."""
    for alias, place in current.places.used():
        if alias == connection.alias:
            yield from place.spaces


def drop_used(current: Runtime, connection: BaseDatabaseWrapper) -> None:
    """Drop what was cached of a database, O(1) a model. One round trip; as soon as the server answers if it is away."""
    writes = Writes()
    for space in used_spaces(current, connection):
        writes.add_model(space)
    current.invalidator.invalidate(writes)


def drop_all(current: Runtime, connection: BaseDatabaseWrapper) -> None:
    """As ``drop_used``, and what other processes may have cached, in the namespace in force. One round trip."""
    with suppress(ImproperlyConfigured):  # no namespace is in force
        for registration in registry:
            current.place(registration, connection)
    drop_used(current, connection)

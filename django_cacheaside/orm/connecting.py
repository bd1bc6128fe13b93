"""What a connection gets when it is made: the commit work and the net. Who never connects loads none of it."""

from __future__ import annotations

from django.apps import AppConfig
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cacheaside.orm import runtime
from django_cacheaside.orm.commit_work import forget_transaction, install_commit_work
from django_cacheaside.orm.connection_state import state_of
from django_cacheaside.orm.cursors import watch_cursors
from django_cacheaside.orm.net.wrapper import Net
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.writes import Writes


def work_around(connection: BaseDatabaseWrapper) -> None:
    """Put the commit work and the net on a connection. Idempotent."""
    install_commit_work(connection)
    watch_cursors(connection)
    if not any(isinstance(wrapper, Net) for wrapper in connection.execute_wrappers):
        # at 0: execute_wrapper(), the context manager, takes off whatever is last when it ends
        connection.execute_wrappers.insert(0, Net(connection))


def begin(connection: BaseDatabaseWrapper) -> None:
    """A new connection to the database has no transaction yet, and its defaults are not known."""
    forget_transaction(state_of(connection))
    state_of(connection).default_is_snapshot = None
    work_around(connection)


def drop_values(app: AppConfig, alias: str) -> None:
    """Drop what is cached of the models of ``app`` in one database."""
    current = runtime.current()
    writes = Writes()
    for registration in registry:
        if registration.model._meta.app_label == app.label:
            for space in current.place(registration, connections[alias]).spaces:
                writes.add_model(space)
    if writes:
        current.invalidator.invalidate(writes)

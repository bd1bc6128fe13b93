"""What ``AppConfig.ready`` sets in motion: models are registered, writes heard of, connections worked around."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Model
from django.db.models.signals import class_prepared, post_migrate

from django_cacheaside.orm import runtime
from django_cacheaside.orm.commit_work import forget_transaction, install_commit_work
from django_cacheaside.orm.connection_state import state_of
from django_cacheaside.orm.cursors import watch_cursors
from django_cacheaside.orm.databases import note_configured_names
from django_cacheaside.orm.mixin import CacheAsideMixin
from django_cacheaside.orm.net.wrapper import Net, forget_plans
from django_cacheaside.orm.receivers import connect_receivers
from django_cacheaside.orm.register import take_up_waiting
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.writes import Writes


def wire() -> None:
    """Register what is cached and work around what is open. Idempotent; touches neither Redis nor the database.

    Raises:
        ImproperlyConfigured: A model's ``class CacheAside`` is wrong.
    """
    take_up_waiting()
    note_configured_names()
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        _register(model)
    class_prepared.connect(_prepared, dispatch_uid="django_cacheaside")
    connection_created.connect(_connected, dispatch_uid="django_cacheaside")
    post_migrate.connect(_migrated, dispatch_uid="django_cacheaside")
    for connection in connections.all(initialized_only=True):
        work_around(connection)


def work_around(connection: BaseDatabaseWrapper) -> None:
    """Put the commit work and the net on a connection. Idempotent."""
    install_commit_work(connection)
    watch_cursors(connection)
    if not any(isinstance(wrapper, Net) for wrapper in connection.execute_wrappers):
        # at 0: execute_wrapper(), the context manager, takes off whatever is last when it ends
        connection.execute_wrappers.insert(0, Net(connection))


def _register(model: type[Model]) -> None:
    if issubclass(model, CacheAsideMixin) and not model._meta.abstract:
        if registry.get(model) is None:  # by a proxy of it, or by register()
            registry.add(model)
        connect_receivers(model)
    forget_plans()  # a table may have a new reader, or a new reference


def _prepared(sender: type[Model], **_: Any) -> None:
    _register(sender)


def _connected(connection: BaseDatabaseWrapper, **_: Any) -> None:
    forget_transaction(state_of(connection))
    state_of(connection).default_is_snapshot = None
    work_around(connection)


def _migrated(sender: AppConfig, using: str, **_: Any) -> None:
    """A migration may have changed the columns, or the rows by statements that nobody saw: drop the app's values."""
    current = runtime.current()
    writes = Writes()
    for registration in registry:
        if registration.model._meta.app_label == sender.label:
            for space in current.place(registration, connections[using]).spaces:
                writes.add_model(space)
    if writes:
        current.invalidator.invalidate(writes)

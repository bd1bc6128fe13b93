"""What ``AppConfig.ready`` sets in motion: models are registered, writes heard of, connections worked around."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Model
from django.db.models.signals import class_prepared, post_migrate

from django_cacheaside.later import later
from django_cacheaside.orm.databases import note_configured_names
from django_cacheaside.orm.mixin import CacheAsideMixin
from django_cacheaside.orm.receivers import connect_receivers
from django_cacheaside.orm.register import forget_plans, take_up_waiting
from django_cacheaside.orm.registry import registry

if TYPE_CHECKING:
    from django_cacheaside.orm import connecting
else:
    connecting = later("django_cacheaside.orm.connecting")


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
        if connection.connection is not None:  # else it will be heard of
            connecting.work_around(connection)


def _register(model: type[Model]) -> None:
    if issubclass(model, CacheAsideMixin) and not model._meta.abstract:
        if registry.get(model) is None:  # by a proxy of it, or by register()
            registry.add(model)
        connect_receivers(model)
    forget_plans()  # a table may have a new reader, or a new reference


def _prepared(sender: type[Model], **_: Any) -> None:
    _register(sender)


def _connected(connection: BaseDatabaseWrapper, **_: Any) -> None:
    connecting.begin(connection)


def _migrated(sender: AppConfig, using: str, **_: Any) -> None:
    """A migration may have changed the columns, or the rows by statements that nobody saw: drop the app's values."""
    connecting.drop_values(sender, using)

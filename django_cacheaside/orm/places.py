"""Where the rows of cached models are: keys, codec and policy of each model in each database and namespace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_cacheaside import conf
from django_cacheaside.clock import Clock
from django_cacheaside.engine.agreement import Announcement
from django_cacheaside.engine.near.cache import NearCache
from django_cacheaside.keys import KeySpace, label_in
from django_cacheaside.orm.background import may_have_threads
from django_cacheaside.orm.columns import ColumnKey, primary_key
from django_cacheaside.orm.databases import identity, is_private
from django_cacheaside.orm.fingerprint import announcements
from django_cacheaside.orm.index.index import Index, make_index
from django_cacheaside.orm.namespaces import Namespace
from django_cacheaside.orm.registry import Key, Registration
from django_cacheaside.orm.rows import RowSource

MOST_PLACES = 5000
"""Models in databases and namespaces of which a process keeps what it has made of them; 10 kB each."""


class Place:
    """One cached model in one database and namespace: its keys, and its rows if they can be served.

    ``key`` and ``source`` are None where the primary key is of a kind that is not cached. ``indexes`` are its declared
    keys.
    """

    __slots__ = ("database", "indexes", "key", "source", "space")

    def __init__(
        self,
        space: KeySpace,
        key: ColumnKey | None,
        source: RowSource | None,
        database: object,
        indexes: tuple[Index, ...],
    ) -> None:
        self.space = space
        self.key = key
        self.source = source
        self.database = database
        self.indexes = indexes

    @property
    def spaces(self) -> list[KeySpace]:
        """Of its rows and of all its declared keys: each has an epoch."""
        return [self.space, *(index.space for index in self.indexes)]


class Places:
    """Those that this process has used. Safe to share between threads.

    Args:
        near: Where rows are kept in this process, of models that say so.
        begin: Told of each model and database that is used, before its rows are; with how their keys are made.
        watch_written: Told of the rows that are to be loaded again when they were written.
    """

    def __init__(
        self,
        alias: conf.Alias,
        settings: conf.Settings,
        clock: Clock,
        *,
        near: NearCache,
        begin: Callable[[type[Model], BaseDatabaseWrapper, Sequence[Announcement]], None],
        watch_written: Callable[[RowSource], None],
    ) -> None:
        self._alias = alias
        self._settings = settings
        self._clock = clock
        self._near = near
        self._begin = begin
        self._watch_written = watch_written
        self._namespace = None if settings.NAMESPACE is None else Namespace(settings.NAMESPACE)
        self._places: dict[tuple[Registration, str, str | None], Place] = {}
        self._lock = threading.Lock()

    def place(self, registration: Registration, connection: BaseDatabaseWrapper) -> Place:
        """Where a model's rows are in a database, in the namespace in force.

        Made once, and again if the alias comes to mean another database.

        Raises:
            ImproperlyConfigured: The namespace can't be told.
        """
        database = connection.settings_dict["NAME"]
        namespace = None
        if self._namespace is not None and not registration.options.shared:
            namespace = self._namespace.in_force()
        place = self._places.get((registration, connection.alias, namespace))
        if place is None or (place.database is not database and place.database != database):
            place = self._make_place(registration, connection, database, namespace)
            with self._lock:
                self._places[registration, connection.alias, namespace] = place
                if len(self._places) > MOST_PLACES:
                    del self._places[next(iter(self._places))]
        return place

    def used(self) -> list[tuple[str, Place]]:
        """Those that this process has used, each with the alias of its database."""
        return [(alias, place) for (_, alias, _), place in self._places.copy().items()]

    def one_namespace(self) -> AbstractContextManager[None]:
        """For one statement: the namespace is asked for now, and holds for all of its keys.

        Raises:
            ImproperlyConfigured: It can't be told.
        """
        return nullcontext() if self._namespace is None else self._namespace.held()

    def _make_place(
        self, registration: Registration, connection: BaseDatabaseWrapper, database: object, namespace: str | None
    ) -> Place:
        name, use_tz = identity(connection), conf.uses_time_zones()
        self._begin(registration.model, connection, announcements(connection, self._alias, self._settings))
        label = label_in(namespace, registration.label)
        space = KeySpace(label, name, self._alias.make_key)
        key = primary_key(registration.model, connection)
        policy = registration.options.policy(self._settings)
        source = None
        if key is not None:
            source = RowSource(
                registration,
                connection,
                space=space,
                policy=policy,
                key=key,
                use_tz=use_tz,
                clock=self._clock,
                loads_in_background=self._loads_in_background(connection, registration),
            )
            if (near := registration.options.near) is not None:
                life_ms = round(max(policy.ttl_ms, policy.negative_ttl_ms) * (1 + policy.jitter))
                source.near = self._near.space(space, near, life_ms=life_ms)
            if source.loads_in_background and registration.options.refreshes_on_write:
                self._watch_written(source)
        indexes = tuple(
            make_index(
                declared,
                registration.model,
                connection,
                label=label,
                database=name,
                make_key=self._alias.make_key,
                policy=policy,
                rows=source,
                use_tz=use_tz,
            )
            for declared in registration.declared
        )
        return Place(space, key, source, database, indexes)

    def _loads_in_background(self, connection: BaseDatabaseWrapper, registration: Registration) -> bool:
        """Does another thread's connection lead to the same rows? Not to a database in memory, nor to a tenant's.

        Nor without autocommit, where its first SELECT would begin a transaction that nobody ends.
        """
        is_tenants = callable(self._settings.NAMESPACE) and not registration.options.shared
        is_shared = not is_private(connection) and connection.settings_dict["AUTOCOMMIT"]
        return is_shared and not is_tenants and may_have_threads()

    def keys(self, registration: Registration, connection: BaseDatabaseWrapper) -> tuple[Key, ...]:
        """Each kind of key that a model has in a database, as it stands in Redis."""
        return registration.keys_in(self.place(registration, connection).spaces, self._settings)

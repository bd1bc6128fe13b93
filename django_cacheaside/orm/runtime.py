"""What runs in this process: the settings, the store, and who reads and invalidates through it. Built at first use."""

from __future__ import annotations

import os

from django.core.signals import setting_changed
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cacheaside import conf
from django_cacheaside.clock import SystemClock
from django_cacheaside.engine.fetch import Fetcher
from django_cacheaside.engine.invalidation import Invalidator
from django_cacheaside.keys import KeySpace
from django_cacheaside.orm.databases import identity
from django_cacheaside.orm.primary_key import PrimaryKey, primary_key
from django_cacheaside.orm.registry import Key, Registration
from django_cacheaside.orm.rows import RowSource
from django_cacheaside.store.pool import Pool
from django_cacheaside.store.store import Store


class Place:
    """One cached model in one database: its keys, and its rows if they can be served.

    ``key`` and ``source`` are None where the primary key is of a kind that is not cached.
    """

    __slots__ = ("database", "key", "source", "space")

    def __init__(self, space: KeySpace, key: PrimaryKey | None, source: RowSource | None, database: object) -> None:
        self.space = space
        self.key = key
        self.source = source
        self.database = database


class Runtime:
    """The parts, put together. Touches neither Redis nor the database when it is made."""

    def __init__(self, settings: conf.Settings) -> None:
        alias = conf.get_alias(settings.CACHE)
        clock = SystemClock()
        pool = Pool(alias.parameters, connect_timeout_s=settings.CONNECT_TIMEOUT, timeout_s=settings.TIMEOUT)
        self.settings = settings
        self.store = Store(pool, probe_key=alias.make_key("{cacheaside}probe"))
        self.invalidator = Invalidator(self.store, clock, intent_ms=round(1000 * settings.INTENT))
        self.fetcher = Fetcher(self.store, self.invalidator.breaker, clock)
        self._make_key = alias.make_key
        self._places: dict[tuple[Registration, str], Place] = {}

    def place(self, registration: Registration, connection: BaseDatabaseWrapper) -> Place:
        """Where a model's rows are in a database; made once, and again if the alias comes to mean another one."""
        database = connection.settings_dict["NAME"]
        place = self._places.get((registration, connection.alias))
        if place is None or (place.database is not database and place.database != database):
            place = self._places[registration, connection.alias] = self._make_place(registration, connection, database)
        return place

    def _make_place(self, registration: Registration, connection: BaseDatabaseWrapper, database: object) -> Place:
        space = KeySpace(registration.label, identity(connection), self._make_key)
        key = primary_key(registration.model, connection)
        if key is None:
            return Place(space, None, None, database)
        policy = registration.options.policy(self.settings)
        source = RowSource(registration, connection, space=space, policy=policy, key=key, use_tz=conf.uses_time_zones())
        return Place(space, key, source, database)

    def keys(self, registration: Registration, connection: BaseDatabaseWrapper) -> tuple[Key, ...]:
        """Each kind of key that a model has in a database, as it stands in Redis."""
        return registration.keys_in(self.place(registration, connection).space, self.settings)

    def close(self) -> None:
        """Hang up."""
        self.store.close()


_current: Runtime | None = None


def current() -> Runtime:
    """This process's runtime.

    Raises:
        ImproperlyConfigured: The settings are wrong.
    """
    global _current
    if _current is None:
        _current = Runtime(conf.get_settings())
    return _current


def reset() -> None:
    """Forget the runtime: the next use builds it from the settings as they are then."""
    global _current
    if _current is not None:
        _current.close()
    _current = None


def _reset_when_set(*, setting: str, **_: object) -> None:
    if setting in {"CACHEASIDE", "CACHES", "DATABASES", "USE_TZ", "TIME_ZONE"}:
        reset()


def _forget_parent() -> None:
    """In a forked child: another thread of the parent may have held a lock of its runtime."""
    global _current
    _current = None


os.register_at_fork(after_in_child=_forget_parent)
setting_changed.connect(_reset_when_set, dispatch_uid="django_cacheaside.runtime")

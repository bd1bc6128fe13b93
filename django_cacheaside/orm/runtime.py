"""What runs in this process: the settings, the store, and who reads and invalidates through it. Built at first use."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from django.core.signals import setting_changed
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cacheaside import conf
from django_cacheaside.clock import SystemClock
from django_cacheaside.engine.agreement import Agreements
from django_cacheaside.engine.breaker import Breaker, Hooks, settle_s
from django_cacheaside.engine.bypass import Bypass
from django_cacheaside.engine.debts import Debts
from django_cacheaside.engine.fetch import Fetcher
from django_cacheaside.engine.hot import HotKeys
from django_cacheaside.engine.invalidation import Invalidator
from django_cacheaside.engine.near.cache import NearCache
from django_cacheaside.engine.publisher import Publisher
from django_cacheaside.engine.refresh import Refresher
from django_cacheaside.keys import KeySpace, label_in
from django_cacheaside.orm.background import Background, may_have_threads
from django_cacheaside.orm.circuit import say_closed, say_opened
from django_cacheaside.orm.columns import ColumnKey, primary_key
from django_cacheaside.orm.databases import identity, is_private
from django_cacheaside.orm.fingerprint import announcements
from django_cacheaside.orm.index.index import Index, make_index
from django_cacheaside.orm.journal.poller import Poller
from django_cacheaside.orm.journal.relay import JournalRelay
from django_cacheaside.orm.namespaces import Namespace
from django_cacheaside.orm.registry import Key, Registration
from django_cacheaside.orm.rows import RowSource
from django_cacheaside.orm.statistics import process_fields
from django_cacheaside.orm.written import WrittenRows
from django_cacheaside.store.pool import Pool
from django_cacheaside.store.published import Published
from django_cacheaside.store.sampling import sample_memory
from django_cacheaside.store.store import Store
from django_cacheaside.store.tracking import Tracking

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


class Runtime:
    """The parts, put together. Touches neither Redis nor the database when it is made."""

    def __init__(self, settings: conf.Settings) -> None:
        alias = conf.get_alias(settings.CACHE)
        clock = SystemClock()
        pool = Pool(alias.parameters, connect_timeout_s=settings.CONNECT_TIMEOUT, timeout_s=settings.TIMEOUT)
        self.settings = settings
        intent_ms = round(1000 * settings.INTENT)
        self.store = Store(pool, probe_key=alias.make_key("{cacheaside}probe"))
        self.agreements = Agreements(self.store, clock, intent_ms=intent_ms)
        self.near = NearCache(lambda: Tracking(pool.apart()), self.store.generations.sealed)
        debts = Debts(self.store, clock, intent_ms=intent_ms)
        self.breaker = Breaker(
            clock,
            debts.pay,
            settle_s=settle_s(connect_timeout_s=settings.CONNECT_TIMEOUT, timeout_s=settings.TIMEOUT),
            is_in_background=may_have_threads(),
            hooks=Hooks(self.store.trust, self._deliver, self._opened, say_closed),
        )
        self.invalidator = Invalidator(
            self.store,
            self.agreements,
            self.breaker,
            debts,
            clock,
            intent_ms=intent_ms,
            drop_near=self.near.drop,
        )
        self.background = Background()
        self.hot = HotKeys()
        self.fetcher = Fetcher(
            self.store,
            self.invalidator.breaker,
            self.agreements,
            clock,
            bypass=Bypass(limit=settings.FALLBACK_LIMIT, wait_s=settings.FALLBACK_WAIT),
            refresher=Refresher(self.store, self.invalidator.breaker, clock, later=self.background.later),
            hot=self.hot,
        )
        self.written = WrittenRows(self.fetcher, self.breaker, self.background.later)
        self.poller = Poller(
            self.store,
            self.invalidator.breaker,
            interval_s=settings.RELAY_INTERVAL,
            lease_key=lambda database: alias.make_key("{cacheaside}relay:" + database),
        )
        self.sample_memory = partial(sample_memory, pool)
        self.published = Published(pool, alias.make_key)
        self.publisher = Publisher(
            self.published, self.invalidator.breaker, partial(process_fields, self.invalidator), self.hot
        )
        self._alias = alias
        self._make_key = alias.make_key
        self._clock = clock
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
        if said := announcements(connection, self._alias, self.settings):
            self.agreements.join(name, said)
        if not is_private(connection):
            self.poller.watch(self.relay_of(router.db_for_write(registration.model)))
        if may_have_threads():
            self.publisher.start()
        label = label_in(namespace, registration.label)
        space = KeySpace(label, name, self._make_key)
        key = primary_key(registration.model, connection)
        policy = registration.options.policy(self.settings)
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
                source.near = self.near.space(space, near, life_ms=life_ms)
            if source.loads_in_background and registration.options.refreshes_on_write:
                self.written.watch(source)
        indexes = tuple(
            make_index(
                declared,
                registration.model,
                connection,
                label=label,
                database=name,
                make_key=self._make_key,
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
        is_tenants = callable(self.settings.NAMESPACE) and not registration.options.shared
        is_shared = not is_private(connection) and connection.settings_dict["AUTOCOMMIT"]
        return is_shared and not is_tenants and may_have_threads()

    def keys(self, registration: Registration, connection: BaseDatabaseWrapper) -> tuple[Key, ...]:
        """Each kind of key that a model has in a database, as it stands in Redis."""
        return registration.keys_in(self.place(registration, connection).spaces, self.settings)

    def relay_of(self, alias: str) -> JournalRelay:
        """Who delivers the journal of a database."""
        return JournalRelay(self.store, alias, identity(connections[alias]), self._make_key)

    def _opened(self, reason: str) -> None:
        self.near.clear()
        say_opened(reason)

    def _deliver(self) -> bool:
        return self.poller.deliver_all()

    def close(self) -> None:
        """Take back what was announced, and hang up."""
        self.near.close()
        self.breaker.close()
        self.background.close()
        self.poller.close()
        self.publisher.close()
        self.agreements.withdraw()
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
    """In a forked child: another thread of the parent may have held a lock of its runtime, and none of them is here."""
    global _current
    _current = None


def _publish_at_exit() -> None:
    if _current is not None:
        _current.publisher.publish_at_exit()


atexit.register(_publish_at_exit)
os.register_at_fork(after_in_child=_forget_parent)
setting_changed.connect(_reset_when_set, dispatch_uid="django_cacheaside.runtime")

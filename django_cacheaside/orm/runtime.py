"""What runs in this process: the settings, the store, and who reads and invalidates through it. Built at first use."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from functools import partial

from django.core.signals import setting_changed
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_cacheaside import conf
from django_cacheaside.clock import SystemClock
from django_cacheaside.engine.agreement import Agreements, Announcement
from django_cacheaside.engine.breaker import Breaker, Hooks, settle_s
from django_cacheaside.engine.bypass import Bypass
from django_cacheaside.engine.debts import Debts
from django_cacheaside.engine.fetch import Fetcher
from django_cacheaside.engine.hot import HotKeys
from django_cacheaside.engine.invalidation import Invalidator
from django_cacheaside.engine.near.cache import NearCache
from django_cacheaside.engine.publisher import Publisher
from django_cacheaside.engine.refresh import Refresher
from django_cacheaside.orm.background import Background, may_have_threads
from django_cacheaside.orm.circuit import say_closed, say_opened
from django_cacheaside.orm.databases import identity, is_private
from django_cacheaside.orm.journal.poller import Poller
from django_cacheaside.orm.journal.relay import JournalRelay
from django_cacheaside.orm.places import Places
from django_cacheaside.orm.statistics import process_fields
from django_cacheaside.orm.written import WrittenRows
from django_cacheaside.store.pool import Pool
from django_cacheaside.store.published import Published
from django_cacheaside.store.sampling import sample_memory
from django_cacheaside.store.store import Store
from django_cacheaside.store.tracking import Tracking


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
            self.breaker,
            self.agreements,
            clock,
            bypass=Bypass(limit=settings.FALLBACK_LIMIT, wait_s=settings.FALLBACK_WAIT),
            refresher=Refresher(self.store, self.breaker, clock, later=self.background.later),
            hot=self.hot,
        )
        self.written = WrittenRows(self.fetcher, self.breaker, self.background.later)
        self.poller = Poller(
            self.store,
            self.breaker,
            interval_s=settings.RELAY_INTERVAL,
            lease_key=lambda database: alias.make_key("{cacheaside}relay:" + database),
        )
        self.sample_memory = partial(sample_memory, pool)
        self.published = Published(pool, alias.make_key)
        self.publisher = Publisher(self.published, self.breaker, partial(process_fields, self.invalidator), self.hot)
        self._make_key = alias.make_key
        self.places = Places(
            alias, settings, clock, near=self.near, begin=self._begin, watch_written=self.written.watch
        )
        self.place = self.places.place
        self.keys = self.places.keys
        self.one_namespace = self.places.one_namespace

    def _begin(self, model: type[Model], connection: BaseDatabaseWrapper, said: Sequence[Announcement]) -> None:
        """This process begins to use a model in a database."""
        if said:
            self.agreements.join(identity(connection), said)
        if not is_private(connection):
            self.poller.watch(self.relay_of(router.db_for_write(model)))
        if may_have_threads():
            self.publisher.start()

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

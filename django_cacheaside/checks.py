"""System checks: what Django says of the settings and the models before anything runs.

    E001   CACHEASIDE is not a dict
    E002   CACHEASIDE has an unknown key
    E003   a value in CACHEASIDE is out of its range
    E004   CACHEASIDE gives two identities to one database
    E010   the cache alias is missing, or names no server
    E011   the cache alias is not django-redis's
    E012   the cache alias spreads its keys over servers in the client
    W013   the cache alias reads from replicas
    W014   INTENT is shorter than a time-out under which a statement or a COMMIT may still succeed
    W020   the default manager of a model with the mixin is not ours
    W021   a cached model's primary key is of a kind that is not cached, or composite
    E022   a declaration in CacheAside.keys is wrong
    W023   a database of cached models lacks the journal's table    (check --database)
    E024   a proxy has a class CacheAside of its own, which nobody reads
    W030   the server may evict intents, or refuse them when it is full    (check --deploy)
    W031   the server does not answer                                      (check --deploy)

Nothing here connects to anything, but for the last three.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as Caution
from django.db import connections, router
from django.db.models import Model, QuerySet

from django_cacheaside import conf
from django_cacheaside.later import later
from django_cacheaside.orm.databases import is_private
from django_cacheaside.orm.managers import CacheAsideQuerySet
from django_cacheaside.orm.mixin import CacheAsideMixin
from django_cacheaside.orm.registry import Registration, registry

if TYPE_CHECKING:
    from django_cacheaside import exceptions
    from django_cacheaside.orm import columns, runtime
    from django_cacheaside.orm.index import resolve
else:
    columns = later("django_cacheaside.orm.columns")
    exceptions = later("django_cacheaside.exceptions")
    resolve = later("django_cacheaside.orm.index.resolve")
    runtime = later("django_cacheaside.orm.runtime")


def register_checks() -> None:
    """Have Django run them. Idempotent."""
    register(check_settings, Tags.caches)
    register(check_alias, Tags.caches)
    register(check_timeouts, Tags.caches)
    register(check_models, Tags.models)
    register(check_journal, Tags.database)
    register(check_server, Tags.caches, deploy=True)


def check_settings(**_: Any) -> list[CheckMessage]:
    """E001–E004."""
    return [_error(problem) for problem in conf.settings_problems(conf.raw_settings())]


def check_alias(**_: Any) -> list[CheckMessage]:
    """E010–W013."""
    if check_settings():
        return []
    name = conf.get_settings().CACHE
    problem = conf.alias_problem(name)
    if problem:
        return [_error(problem)]
    if not conf.reads_from_replicas(name):
        return []
    primary = _host(conf.primary_location(name))
    return [
        Caution(
            f"The cache alias {name!r} reads from replicas; cached rows are read from {primary} only.",
            hint="A replica may not have heard of a write yet. Size the primary for all reads of cached rows, "
            "or name an alias of its own in CACHEASIDE['CACHE'].",
            id="cacheaside.W013",
        )
    ]


def check_timeouts(**_: Any) -> list[CheckMessage]:
    """W014."""
    if check_settings():
        return []
    intent_s = conf.get_settings().INTENT
    return [
        Caution(
            f"INTENT is {intent_s:g} s, but a write to {alias!r} may take {limit_s:g} s ({name}) and yet succeed.",
            hint="From the end of its intent until it is released, readers may see and cache the old row. "
            f"Set INTENT above {limit_s:g} s, or shorten {name}.",
            id="cacheaside.W014",
        )
        for alias, name, limit_s in _write_limits()
        if limit_s >= intent_s
    ]


def check_models(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    """W020, W021, E022 and E024."""
    wanted = None if app_configs is None else {config.label for config in app_configs}
    chosen = [one for one in registry if wanted is None or one.model._meta.app_label in wanted]
    found = [
        message
        for one in chosen
        for messages in (_manager_messages(one.model), _primary_key_messages(one.model), _key_messages(one))
        for message in messages
    ]
    models = apps.get_models() if app_configs is None else [one for app in app_configs for one in app.get_models()]
    return found + [message for model in models if model._meta.proxy for message in _proxy_messages(model)]


def check_journal(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W023. Of the databases that are named, as Django's own checks of databases."""
    if check_settings() or any(message.is_serious() for message in check_alias()):
        return []
    used = {router.db_for_write(one.model) for one in registry}
    lacking = [
        alias
        for alias in databases or ()
        if alias in used and not is_private(connections[alias]) and not runtime.current().relay_of(alias).is_possible()
    ]
    then = (
        "a write fails"
        if conf.get_settings().ON_LOST_INVALIDATION == "raise"
        else "other processes may serve old rows for the TTL"
    )
    return [
        Caution(
            f"The database {alias!r} has no table for the journal: while the cache server is away, {then}.",
            hint=f"Run manage.py migrate cacheaside --database={alias}. If a router decides where tables are made, "
            "have it allow the app 'cacheaside' in each database of cached models.",
            id="cacheaside.W023",
        )
        for alias in lacking
    ]


def check_server(**_: Any) -> list[CheckMessage]:
    """W030 and W031. The only check that connects."""
    if check_settings() or any(message.is_serious() for message in check_alias()):
        return []
    try:
        memory = runtime.current().store.info("memory")
    except exceptions.StoreUnavailableError as error:
        return [
            Caution(
                f"The cache server does not answer: {error}",
                hint="Reads go to the database until it does. Check its address and its access rules.",
                id="cacheaside.W031",
            )
        ]
    wrong = eviction_problem(memory)
    return [Caution(wrong[0], hint=wrong[1], id="cacheaside.W030")] if wrong else []


def eviction_problem(memory: Mapping[str, str]) -> tuple[str, str] | None:
    """What is wrong with what a full server does, and what to do; None if nothing is.

    An intent is a young key with a short life, read by nobody or by many. LRU (and LRM, by last change) evicts it after
    the values; LFU and random now and then before them; TTL first of all.

    Args:
        memory: INFO's section ``memory``. Without a limit nothing is evicted; a server that tells nothing is believed.
    """
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory", "0") == "0" or policy.endswith(("-lru", "-lrm")):
        return None
    recommended = "Set maxmemory-policy to allkeys-lru, or to volatile-lru if the server also keeps what must not go."
    if policy == "noeviction":
        what = "refuses writes"
        why = "It then refuses intents too: who writes stops serving from the cache, and others may serve the old rows."
    else:
        what = f"may evict intents {'first' if policy == 'volatile-ttl' else 'before values'}"
        why = "Where an intent is gone before its COMMIT, a reader may cache the old row until the release."
    return f"The cache server {what} when it is full (maxmemory-policy {policy}).", f"{why} {recommended}"


# compiled when they are used
_SETTING_MS = (
    r"""(?i)(?:-c\s*|--)(?P<name>statement.timeout|lock.timeout)\s*=\s*"""
    r"""['"]?(?P<number>[\d.]+)\s*(?P<unit>us|ms|s|min|h|d)?\b"""
)
_UNIT_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_LOCK_WAIT_S = r"(?i)innodb_lock_wait_timeout\s*:?=\s*(\d+)"


def longest_write(vendor: str, options: Mapping[str, Any]) -> tuple[str, float]:
    """The option of a database that limits how long a statement or COMMIT may take and yet succeed, and its seconds.

    As far as OPTIONS tell; 0 seconds if they do not.
    """
    if vendor == "sqlite":
        return "timeout", float(options.get("timeout", 5.0))
    if vendor == "mysql":
        limit = re.search(_LOCK_WAIT_S, str(options.get("init_command", "")))
        return "innodb_lock_wait_timeout", float(limit[1]) if limit else 50.0
    if vendor == "postgresql":
        limits_s = {
            found["name"].lower().replace("-", "_"): float(found["number"]) * _UNIT_S[(found["unit"] or "ms").lower()]
            for found in re.finditer(_SETTING_MS, str(options.get("options", "")))
        }
        # lock_timeout begins anew for each lock that the statement waits for: it bounds nothing beside the other
        name = "statement_timeout" if limits_s.get("statement_timeout") else "lock_timeout"
        return name, limits_s.get(name, 0.0)
    return "", 0.0


def _write_limits() -> Iterator[tuple[str, str, float]]:
    """Of each database: its alias, and what limits its writes."""
    for connection in connections.all():
        yield connection.alias, *longest_write(connection.vendor, connection.settings_dict.get("OPTIONS") or {})


def _manager_messages(model: type[Model]) -> Iterator[CheckMessage]:
    if not issubclass(model, CacheAsideMixin):
        return  # registered, because it can't be edited
    queryset_class = getattr(model._default_manager, "_queryset_class", QuerySet)
    if not issubclass(queryset_class, CacheAsideQuerySet):
        yield Caution(
            f"The default manager of {model._meta.label} gives a {queryset_class.__name__}, not a CacheAsideQuerySet.",
            hint="Its writes invalidate all the same, but by their SQL alone: where that does not tell the rows, the "
            "whole model is dropped. Use CacheAsideManager, or derive the queryset from CacheAsideQuerySet, to be more "
            "precise where it can be.",
            obj=model,
            id="cacheaside.W020",
        )


def _primary_key_messages(model: type[Model]) -> Iterator[CheckMessage]:
    pk = model._meta.pk
    if columns.primary_key(model, connections[router.db_for_write(model)]) is None:
        yield Caution(
            f"The primary key of {model._meta.label} ({type(pk).__name__}) is of a kind that is not cached.",
            hint="Its rows are read from the database. Cached are those by one of Django's own integer or UUID fields "
            "or, on PostgreSQL and SQLite, text fields without a db_collation or a db_type of their own.",
            obj=model,
            id="cacheaside.W021",
        )


def _key_messages(registration: Registration) -> Iterator[CheckMessage]:
    model, options = registration.model, registration.options
    for found in resolve.resolve_all(model, options.keys, exclude=options.exclude):
        if isinstance(found, resolve.KeyDeclarationError):
            yield Error(found.message, hint=found.hint, obj=model, id="cacheaside.E022")


def _proxy_messages(proxy: type[Model]) -> Iterator[CheckMessage]:
    concrete = proxy._meta.concrete_model
    if concrete is None or getattr(proxy, "CacheAside", None) is getattr(concrete, "CacheAside", None):
        return
    if registry.get(concrete) is None:
        return  # the name says nothing to us there
    label = concrete._meta.label
    where = (
        "class CacheAside" if issubclass(concrete, CacheAsideMixin) else f"register({concrete._meta.object_name}, …)"
    )
    yield Error(
        f"{proxy._meta.label} has a class CacheAside of its own, which is not read: a proxy shares the rows "
        f"of {label}, and its options.",
        hint=f"Put the options into the {where} of {label}, and take them out of the proxy.",
        obj=proxy,
        id="cacheaside.E024",
    )


def _error(problem: conf.Problem) -> Error:
    return Error(problem.message, hint=problem.hint or None, id=problem.id)


def _host(url: str) -> str:
    """The server of a URL, without its credentials."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path

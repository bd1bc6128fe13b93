"""The cache alias that ``CACHEASIDE`` names: where the server is, and how its keys are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings as django_settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.exceptions import ImproperlyConfigured
from django_redis.cache import RedisCache
from django_redis.pool import get_connection_factory

from django_cacheaside.conf.problems import Problem


@dataclass(frozen=True, slots=True)
class Alias:
    """The cache alias as we use it.

    Args:
        parameters: A redis-py connection pool with the alias's address, credentials, TLS and Sentinel; made for its
            parameters, never connected.
        make_key: The alias's ``KEY_FUNCTION`` with its ``KEY_PREFIX`` and ``VERSION``.
        key_settings: Those three as a person reads them.
    """

    parameters: Any
    make_key: Callable[[str], str]
    key_settings: str


def alias_problem(name: str) -> Problem | None:
    """What is wrong with the alias that CACHEASIDE names, or None. Connects to nothing."""
    hint = (
        f'Set CACHES[{name!r}] = {{"BACKEND": "django_redis.cache.RedisCache", '
        '"LOCATION": "redis://127.0.0.1:6379/0"}, '
        "or name another alias in CACHEASIDE['CACHE']."
    )
    if name not in django_settings.CACHES:
        return Problem("cacheaside.E010", f"CACHEASIDE['CACHE'] names {name!r}, which CACHES does not have.", hint)
    try:
        backend = caches.create_connection(name)
    except InvalidCacheBackendError as error:
        return Problem("cacheaside.E010", f"CACHEASIDE['CACHE'] names {name!r}: {error}", hint)
    if not isinstance(backend, RedisCache):
        return Problem(
            "cacheaside.E011",
            f"The cache {name!r} is a {type(backend).__name__}; it must be django-redis's RedisCache.",
            hint,
        )
    client = str(_options(name).get("CLIENT_CLASS", ""))
    if client.endswith("ShardClient"):
        return Problem(
            "cacheaside.E012",
            f"The cache {name!r} spreads its keys over servers in the client ({client}).",
            "One script must find all keys of a row on one server: use django_redis.client.DefaultClient.",
        )
    if not locations(name):
        return Problem("cacheaside.E010", f"CACHEASIDE['CACHE'] names {name!r}, which has no LOCATION.", hint)
    return None


def get_alias(name: str) -> Alias:
    """The alias's parameters.

    Raises:
        ImproperlyConfigured: It is missing, or not a django-redis alias.
    """
    problem = alias_problem(name)
    if problem:
        raise ImproperlyConfigured(f"{problem.message} {problem.hint}")
    backend = caches.create_connection(name)
    factory = get_connection_factory(dict(_options(name)))
    parameters = factory.get_connection_pool(factory.make_connection_params(primary_location(name)))

    def make_key(raw: str) -> str:
        return str(backend.key_func(raw, backend.key_prefix, backend.version))

    function = getattr(backend.key_func, "__qualname__", repr(backend.key_func))
    key_settings = f"KEY_PREFIX={backend.key_prefix!r}, VERSION={backend.version!r}, KEY_FUNCTION={function}"
    return Alias(parameters, make_key, key_settings)


def locations(name: str) -> list[str]:
    """The URLs of the alias's servers, as django-redis reads them: the primary's first, then its replicas'."""
    location = django_settings.CACHES[name].get("LOCATION") or ()
    return location.split(",") if isinstance(location, str) else [str(url) for url in location]


def primary_location(name: str) -> str:
    """The URL of the alias's write side: the first of its locations; Sentinel's master, never a replica."""
    return locations(name)[0].replace("is_master=0", "is_master=1")


def reads_from_replicas(name: str) -> bool:
    """Does django-redis read this alias from other servers than it writes to?"""
    return len(locations(name)) > 1 or "Sentinel" in str(_options(name).get("CLIENT_CLASS", ""))


def _options(name: str) -> Mapping[str, Any]:
    options = django_settings.CACHES[name].get("OPTIONS", {})
    assert isinstance(options, Mapping)
    return options

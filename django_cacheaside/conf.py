"""``CACHEASIDE`` and the cache alias it names: the only reader of Django's settings.

    CACHEASIDE = {"CACHE": "default", "TTL": 300}

Durations are seconds, as a number or a ``timedelta``. An unknown key is an error that names the nearest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields
from datetime import timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from django.conf import settings as django_settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string
from django_redis.cache import RedisCache
from django_redis.pool import get_connection_factory


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in the settings: a check's id, what is wrong, and what to do."""

    id: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration's range, in seconds, ends included."""

    least_s: float
    most_s: float


DAY_S = 86_400.0

NAMESPACE = re.compile(r"[\w.$-]{1,64}")
"""A namespace: as long as the name of a schema, and nothing in it that parts a key."""

IDENTITY = re.compile(r"[^\s{}]{1,64}")
"""A database's declared identity: whatever may stand in a hash tag."""

NamespaceSource = str | Callable[[], str] | None
"""No namespace, always the same one, or who knows the one in force."""

DURATIONS: Mapping[str, Duration] = {
    "TTL": Duration(0.1, 30 * DAY_S),
    "NEGATIVE_TTL": Duration(0, 30 * DAY_S),
    "LEASE": Duration(0.1, 300),
    "WAIT": Duration(0, 60),
    "INTENT": Duration(1, 3600),
    "CONNECT_TIMEOUT": Duration(0.005, 60),
    "TIMEOUT": Duration(0.005, 60),
    "RELAY_INTERVAL": Duration(0.05, 3600),
}


CHOICES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "UNDECLARED": (
        ("allow", "warn", "raise"),
        "It says what happens where cached is asked for what is no declared key.",
    ),
    "JOURNAL": (("on_failure", "always"), "It says when a commit is noted in the journal."),
    "ON_LOST_INVALIDATION": (("raise", "ttl"), "It says what becomes of a commit that can't even be noted."),
}
"""Settings that are one of some words, the default first, and what they are about."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``CACHEASIDE``, complete and checked. Durations in seconds."""

    CACHE: str = "default"
    TTL: float = 300.0
    JITTER: float = 0.1
    NEGATIVE_TTL: float = 10.0
    LEASE: float = 3.0
    WAIT: float = 0.25
    INTENT: float = 30.0
    CONNECT_TIMEOUT: float = 0.1
    TIMEOUT: float = 0.1
    ENABLED: bool = True
    UNDECLARED: str = "allow"
    JOURNAL: str = "on_failure"
    RELAY_INTERVAL: float | None = 1.0
    ON_LOST_INVALIDATION: str = "raise"
    NAMESPACE: NamespaceSource = None
    DATABASES: Mapping[str, str] = field(default_factory=dict)


KNOWN = tuple(one.name for one in fields(Settings))
DEFAULTS: Mapping[str, Any] = {one.name: one.default for one in fields(Settings) if one.default is not NO_DEFAULT}


def nearest(word: str, words: tuple[str, ...]) -> str:
    """``Did you mean …?`` for a misspelt word, else the list of what there is."""
    close = get_close_matches(word, words, n=1, cutoff=0.5) or get_close_matches(word.upper(), words, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(words)}."


def seconds(value: object) -> float | None:
    """A duration in seconds, or None if ``value`` is none."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf"):
        return float(min(value, 10**12))
    return None


def duration_problem(name: str, value: object, allowed: Duration) -> str | None:
    """What is wrong with a duration, or None."""
    found_s = seconds(value)
    if found_s is None:
        return f"{name} is {value!r}; it takes seconds, as a number or a timedelta."
    if not allowed.least_s <= found_s <= allowed.most_s:
        return f"{name} is {found_s:g} s; it must be between {allowed.least_s:g} and {allowed.most_s:g} s."
    return None


def settings_problems(raw: object) -> Iterator[Problem]:
    """All that is wrong with ``CACHEASIDE``."""
    if not isinstance(raw, Mapping):
        yield Problem(
            "cacheaside.E001", f"CACHEASIDE is {raw!r}; it must be a dict.", 'Set CACHEASIDE = {"CACHE": "default"}.'
        )
        return
    for name in raw:
        if name not in KNOWN:
            yield Problem("cacheaside.E002", f"CACHEASIDE has no key {name!r}.", nearest(str(name), KNOWN))
    for name, allowed in DURATIONS.items():
        if name == "RELAY_INTERVAL" and raw.get(name, 0) is None:
            continue  # no thread of ours relays
        if name in raw and (wrong := duration_problem(name, raw[name], allowed)):
            yield Problem("cacheaside.E003", f"CACHEASIDE: {wrong}", f"The default is {DEFAULTS[name]:g} s.")
    jitter = raw.get("JITTER", 0.0)
    if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter <= 1:
        yield Problem(
            "cacheaside.E003",
            f"CACHEASIDE: JITTER is {jitter!r}; it must be a share between 0 and 1.",
            "The default is 0.1.",
        )
    if not isinstance(raw.get("ENABLED", True), bool):
        yield Problem("cacheaside.E003", f"CACHEASIDE: ENABLED is {raw['ENABLED']!r}; it must be True or False.", "")
    for name, (words, meaning) in CHOICES.items():
        if raw.get(name, words[0]) not in words:
            what = f"CACHEASIDE: {name} is {raw[name]!r}; it must be {' or '.join(map(repr, words))}."
            yield Problem("cacheaside.E003", what, f"{meaning} The default is {words[0]!r}.")
    if not isinstance(raw.get("CACHE", ""), str):
        yield Problem("cacheaside.E003", f"CACHEASIDE: CACHE is {raw['CACHE']!r}; it must name an alias of CACHES.", "")
    yield from _namespace_problems(raw.get("NAMESPACE"))
    yield from _databases_problems(raw.get("DATABASES", {}))


def _namespace_problems(raw: object) -> Iterator[Problem]:
    if raw is None or callable(raw):
        return
    if not isinstance(raw, str):
        what = f"CACHEASIDE: NAMESPACE is {raw!r}; it must be None, a text, or a callable."
        yield Problem("cacheaside.E003", what, "The callable takes no arguments and returns the namespace in force.")
    elif "." in raw:
        try:
            found = import_string(raw)
        except ImportError as error:
            yield Problem("cacheaside.E003", f"CACHEASIDE: NAMESPACE names {raw!r}: {error}", "Give a dotted path.")
        else:
            if not callable(found):
                yield Problem("cacheaside.E003", f"CACHEASIDE: NAMESPACE names {raw!r}, which is no callable.", "")
    elif not NAMESPACE.fullmatch(raw):
        what = f"CACHEASIDE: NAMESPACE is {raw!r}; it must be {NAMESPACE_RULE}."
        yield Problem("cacheaside.E003", what, "A text with a dot in it is the dotted path of a callable.")


NAMESPACE_RULE = "1 to 64 letters, digits, '_', '-', '$' or '.'"


def _databases_problems(raw: object) -> Iterator[Problem]:
    if not isinstance(raw, Mapping):
        what = f"CACHEASIDE: DATABASES is {raw!r}; it must be a dict of aliases and identities."
        yield Problem("cacheaside.E003", what, 'As in {"default": "shop", "pool": "shop"}.')
        return
    aliases = tuple(django_settings.DATABASES)
    for alias, declared in raw.items():
        if alias not in aliases:
            what = f"CACHEASIDE: DATABASES names {alias!r}, no alias of Django's DATABASES."
            yield Problem("cacheaside.E003", what, nearest(str(alias), aliases))
        elif not isinstance(declared, str) or not IDENTITY.fullmatch(declared):
            what = f"CACHEASIDE: DATABASES[{alias!r}] is {declared!r}; it must be a text of 1 to 64 characters."
            yield Problem("cacheaside.E003", what, "No white space, and no braces.")
    yield from _contradictions(raw)


def _contradictions(declared: Mapping[str, Any]) -> Iterator[Problem]:
    """Aliases of one address that are said to be different databases."""
    said: dict[tuple[Any, ...], tuple[str, Any]] = {}
    for alias, database in django_settings.DATABASES.items():
        if (database.get("TEST") or {}).get("MIRROR"):
            continue  # in a test run it has the address of another one
        address = tuple(str(database.get(part) or "") for part in ("ENGINE", "HOST", "PORT", "NAME"))
        own = declared.get(alias, database.get("NAME"))
        other, of_other = said.setdefault(address, (alias, own))
        if str(of_other) != str(own):
            yield Problem(
                "cacheaside.E004",
                f"CACHEASIDE: DATABASES gives {other!r} the identity {str(of_other)!r} and {alias!r} {str(own)!r}, but "
                "their addresses are the same.",
                "What is written through one would not be seen through the other: give them one identity.",
            )


def raw_settings() -> Any:
    """``CACHEASIDE`` as it was written."""
    return getattr(django_settings, "CACHEASIDE", {})


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings, read once and again after ``setting_changed``.

    Raises:
        ImproperlyConfigured: Something is wrong with them.
    """
    raw = raw_settings()
    for problem in settings_problems(raw):
        raise ImproperlyConfigured(f"{problem.message} {problem.hint}".strip())
    chosen: dict[str, Any] = {name: seconds(value) if name in DURATIONS else value for name, value in raw.items()}
    namespace = chosen.get("NAMESPACE")
    if isinstance(namespace, str) and "." in namespace:
        chosen["NAMESPACE"] = import_string(namespace)
    return Settings(**chosen)


def uses_time_zones() -> bool:
    """``USE_TZ``."""
    return bool(django_settings.USE_TZ)


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


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"CACHEASIDE", "CACHES", "DATABASES"}:
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_cacheaside.conf")

"""``CACHEASIDE`` and the cache alias it names: the only reader of Django's settings.

    CACHEASIDE = {"CACHE": "default", "TTL": 300}

Durations are seconds, as a number or a ``timedelta``. An unknown key is an error that names the nearest. The names are
loaded at their first use: a start needs few of them, and not the cache alias with the client behind it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_cacheaside.conf.alias import (
        Alias,
        alias_problem,
        get_alias,
        locations,
        primary_location,
        reads_from_replicas,
    )
    from django_cacheaside.conf.checking import settings_problems
    from django_cacheaside.conf.durations import DURATIONS, Duration, duration_problem, seconds
    from django_cacheaside.conf.problems import Problem, nearest
    from django_cacheaside.conf.reading import get_settings, raw_settings, uses_time_zones
    from django_cacheaside.conf.settings import DEFAULTS, KNOWN, NAMESPACE, NAMESPACE_RULE, Settings

__all__ = [
    "DEFAULTS",
    "DURATIONS",
    "KNOWN",
    "NAMESPACE",
    "NAMESPACE_RULE",
    "Alias",
    "Duration",
    "Problem",
    "Settings",
    "alias_problem",
    "duration_problem",
    "get_alias",
    "get_settings",
    "locations",
    "nearest",
    "primary_location",
    "raw_settings",
    "reads_from_replicas",
    "seconds",
    "settings_problems",
    "uses_time_zones",
]

_HOMES = {
    "DEFAULTS": "settings",
    "DURATIONS": "durations",
    "KNOWN": "settings",
    "NAMESPACE": "settings",
    "NAMESPACE_RULE": "settings",
    "Alias": "alias",
    "Duration": "durations",
    "Problem": "problems",
    "Settings": "settings",
    "alias_problem": "alias",
    "duration_problem": "durations",
    "get_alias": "alias",
    "get_settings": "reading",
    "locations": "alias",
    "nearest": "problems",
    "primary_location": "alias",
    "raw_settings": "reading",
    "reads_from_replicas": "alias",
    "seconds": "durations",
    "settings_problems": "checking",
    "uses_time_zones": "reading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found

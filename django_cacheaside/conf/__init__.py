"""``CACHEASIDE`` and the cache alias it names: the only reader of Django's settings.

    CACHEASIDE = {"CACHE": "default", "TTL": 300}

Durations are seconds, as a number or a ``timedelta``. An unknown key is an error that names the nearest.
"""

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

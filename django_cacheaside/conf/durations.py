"""Durations as people write them, in seconds or as a ``timedelta``, and the range of each setting that is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration's range, in seconds, ends included."""

    least_s: float
    most_s: float


DAY_S = 86_400.0

DURATIONS: Mapping[str, Duration] = {
    "TTL": Duration(0.1, 30 * DAY_S),
    "NEGATIVE_TTL": Duration(0, 30 * DAY_S),
    "STALE": Duration(0, 30 * DAY_S),
    "LEASE": Duration(0.1, 300),
    "WAIT": Duration(0, 60),
    "INTENT": Duration(1, 3600),
    "CONNECT_TIMEOUT": Duration(0.005, 60),
    "TIMEOUT": Duration(0.005, 60),
    "FALLBACK_WAIT": Duration(0, 60),
    "RELAY_INTERVAL": Duration(0.05, 3600),
}


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

"""What we add to the start of a process: imports and set-up, each time in a new one, in turn with us and without us.

The project is what ``startproject`` makes, with django-redis as its cache in both.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.ground import Ground
from benchmarks.measure import Effort
from benchmarks.report import Figure, amount

MOST_MS = 15
FRONT_DOOR = (
    "from time import perf_counter_ns as now; start = now(); import django_cacheaside; print((now() - start) / 1e6)"
)


def figures(_: Ground, effort: Effort) -> list[Figure]:
    """Measure it; a first round is not counted, in which the byte code may be written. A quick run leaves it out."""
    uncounted = 0 if effort.is_quick else 1
    rounds = [
        [*_start(), *_start("us"), *_start("redis"), *_start("us", "redis"), *_run("-c", FRONT_DOOR)]
        for _ in range(effort.rounds + uncounted)
    ]
    without_us, _none, with_us, models, redis_too, _none, us_and_redis, _models, front_door = zip(
        *rounds[uncounted:], strict=True
    )
    return [
        amount("startup", "django.setup() without us", without_us, "ms"),
        amount("startup", "django.setup() with us", with_us, "ms"),
        amount("startup", "django.setup(), more with us", _more(with_us, without_us), "ms", most=MOST_MS),
        amount("startup", "the same where redis-py was imported before", _more(us_and_redis, redis_too), "ms"),
        amount("startup", "django.setup() with us: django_cacheaside.models", models, "ms"),
        amount("startup", "import django_cacheaside, alone", front_door, "ms"),
    ]


def _more(ours: Sequence[float], alone: Sequence[float]) -> list[float]:
    """Between neighbours."""
    return [one - other for one, other in zip(ours, alone, strict=True)]


def _start(*which: str) -> list[float]:
    return _run("-m", "benchmarks.startup", *which)


def _run(*arguments: str) -> list[float]:
    """The numbers that a process prints."""
    # else it would time the compiler: of us alone, as installed packages come with their byte code
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [float(number) for number in done.stdout.split()]

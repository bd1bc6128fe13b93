"""One start of a small project, in a process of its own: ``python -m benchmarks.startup [us] [redis]``.

With us, or without; with redis-py imported before, as by whoever uses it anyway, or not. Prints milliseconds:
``django.setup()``, and of it the import of our models; 0 without us.
"""

from __future__ import annotations

import sys
from importlib import import_module
from time import perf_counter_ns

import django
from django.apps import AppConfig
from django.conf import settings

US = "django_cacheaside"
APPS = [f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")]
"""What ``startproject`` installs."""


def start(apps: list[str]) -> tuple[float, float]:
    """Set Django up; once in a process."""
    settings.configure(
        INSTALLED_APPS=apps,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:6379/0"}},
        CACHEASIDE={"CACHE": "default"},
        USE_TZ=True,
    )
    import_models, models_ms = AppConfig.import_models, 0.0

    def timing(config: AppConfig) -> None:
        nonlocal models_ms
        start_ns = perf_counter_ns()
        import_models(config)
        if config.name == US:
            models_ms = (perf_counter_ns() - start_ns) / 1e6

    AppConfig.import_models = timing  # type: ignore[assignment, method-assign]
    start_ns = perf_counter_ns()
    django.setup()
    return (perf_counter_ns() - start_ns) / 1e6, models_ms


if __name__ == "__main__":
    if "redis" in sys.argv:
        import_module("redis")
    print(*start([*APPS, US] if "us" in sys.argv else APPS))

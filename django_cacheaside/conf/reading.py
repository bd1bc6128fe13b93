"""``CACHEASIDE`` as it stands in Django's settings, read once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_cacheaside.conf.checking import settings_problems
from django_cacheaside.conf.durations import DURATIONS, seconds
from django_cacheaside.conf.settings import Settings


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


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"CACHEASIDE", "CACHES", "DATABASES"}:
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_cacheaside.conf")

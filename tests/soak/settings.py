"""The tests' settings, and the soak's models. Those who take part are told their own server, and relay."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "tests.soak"]
CACHEASIDE = {"CACHE": "default", "INTENT": 5, "RELAY_INTERVAL": None, "TIMEOUT": 5, "CONNECT_TIMEOUT": 5}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"unexpected": {"class": "tests.soak.unexpected.Unexpected"}},
    "loggers": {"django_cacheaside": {"handlers": ["unexpected"], "propagate": False}},
}

"""Django's settings for the tests. The servers are those of ``tests.servers``; importable without any."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

_sqlite_dir = Path(os.environ.get("CACHEASIDE_TEST_SQLITE_DIR", tempfile.gettempdir()))

SECRET_KEY = "for tests only"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.postgres",
    "django_cacheaside",
    "tests.app",
]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "cacheaside",
        "HOST": os.environ.get("CACHEASIDE_TEST_PG_HOST", "127.0.0.1"),
        "PORT": os.environ.get("CACHEASIDE_TEST_PG_PORT", ""),
        "USER": os.environ.get("CACHEASIDE_TEST_PG_USER", "postgres"),
        "PASSWORD": os.environ.get("CACHEASIDE_TEST_PG_PASSWORD", ""),
    },
    "sqlite": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _sqlite_dir / "cacheaside.sqlite3",
        "OPTIONS": {"timeout": 20},
        # A file, because threads and processes share it: an in-memory database is its connection's own.
        "TEST": {"NAME": str(_sqlite_dir / "test_cacheaside.sqlite3")},
    },
}

CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ.get("CACHEASIDE_TEST_VALKEY_URL", "redis://127.0.0.1:6379/0"),
        "KEY_PREFIX": "t",
    },
}
CACHEASIDE = {"CACHE": "default"}

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
    "django.contrib.admin",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django_cacheaside",
    "tests.app",
]

# what the admin asks for; the tests of it bring their ROOT_URLCONF
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
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

if os.environ.get("CACHEASIDE_TEST_MYSQL_HOST"):
    _host = os.environ["CACHEASIDE_TEST_MYSQL_HOST"]
    DATABASES["mysql"] = {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "cacheaside_mysql",  # not PostgreSQL's: databases of one name would share their keys
        "HOST": _host,  # a unix socket's path too
        "PORT": os.environ.get("CACHEASIDE_TEST_MYSQL_PORT", ""),
        "USER": os.environ.get("CACHEASIDE_TEST_MYSQL_USER", "root"),
        "PASSWORD": os.environ.get("CACHEASIDE_TEST_MYSQL_PASSWORD", ""),
        "OPTIONS": {"charset": "utf8mb4"},
        "TEST": {"CHARSET": "utf8mb4"},
    }

CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ.get("CACHEASIDE_TEST_VALKEY_URL", "redis://127.0.0.1:6379/0"),
        "KEY_PREFIX": "t",
    },
}
CACHEASIDE = {"CACHE": "default"}

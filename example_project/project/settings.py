"""Settings of the example project: SQLite, one Redis or Valkey, and the airports."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent

SECRET_KEY = "an example has no secrets"  # noqa: S105
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
INSTALLED_APPS = ["django_cacheaside", "airports"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("CACHEASIDE_DATABASE", str(HERE / "airports.sqlite3")),
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",  # a transaction that reads first and writes then would be refused
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
        },
    }
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ.get("CACHEASIDE_REDIS_URL", "redis://127.0.0.1:6379/0"),
    }
}
CACHEASIDE = {"CACHE": "default", "TTL": 300}
if "CACHEASIDE_DATABASE" in os.environ:
    CACHEASIDE["RELAY_INTERVAL"] = None  # a database that goes with the demo: nobody is left to relay its journal
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],  # there are no users here
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}

"""A Valkey, a PostgreSQL and a directory for SQLite's files, gone as soon as this process is; and Django upon them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
import psycopg
from django.conf import settings

from example_project.embedded import EmbeddedValkey
from tests.postgres import EmbeddedPostgres

SQLITE, POSTGRESQL = "default", "postgresql"
"""The databases with us, by alias. SQLite is the default, so that ``Model.cached`` needs no ``using()``."""

WITHOUT_US = {SQLITE: "sqlite_alone", POSTGRESQL: "postgresql_alone"}
"""Of each, an alias of a database like it, on which nothing of ours is left; see ``ground``."""


@dataclass(frozen=True, slots=True)
class Where:
    """The running servers.

    Args:
        valkey_url: The Valkey, on a unix socket.
        postgresql: The directory of PostgreSQL's unix socket.
        sqlite: The directory for SQLite's files, on the disk of the temp directory.
    """

    valkey_url: str
    postgresql: Path
    sqlite: Path


@contextmanager
def servers() -> Iterator[Where]:
    """Start them; 1 s. Their watchdogs end them, and remove the files, however this process ends."""
    with EmbeddedValkey() as valkey, EmbeddedPostgres() as postgresql:
        assert valkey.directory is not None
        assert postgresql.directory is not None
        with psycopg.connect(host=str(postgresql.directory), user="postgres", autocommit=True) as connection:
            for alias in (POSTGRESQL, WITHOUT_US[POSTGRESQL]):
                connection.execute(f"CREATE DATABASE {alias}")
        yield Where(valkey.url, postgresql.directory, valkey.directory)


def configure(where: Where) -> None:
    """Set Django up. Durations are such that nothing expires during a run."""
    settings.configure(
        INSTALLED_APPS=["django_cacheaside", "benchmarks"],
        DATABASES={
            **{alias: _sqlite(where, alias) for alias in (SQLITE, WITHOUT_US[SQLITE])},
            **{alias: _postgresql(where, alias) for alias in (POSTGRESQL, WITHOUT_US[POSTGRESQL])},
        },
        CACHES={
            "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": where.valkey_url, "KEY_PREFIX": "b"}
        },
        CACHEASIDE={"CACHE": "default", "TTL": 86_400, "TIMEOUT": 5, "RELAY_INTERVAL": None},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()


def _sqlite(where: Where, alias: str) -> dict[str, Any]:
    """A file, as a careful production has it: without a write-ahead log each commit waits for the disk, twice."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": where.sqlite / f"{alias}.sqlite3",
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"},
    }


def _postgresql(where: Where, alias: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": alias,
        "HOST": str(where.postgresql),
        "USER": "postgres",
    }

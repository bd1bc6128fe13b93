"""The servers that the laws are held on: the newest Valkey and the oldest Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.laws.twin import Server


@pytest.fixture(scope="session")
def valkey(valkey_url: str) -> Iterator[Server]:
    server = Server(valkey_url)
    yield server
    server.store.close()


@pytest.fixture(scope="session")
def redis62(redis62_url: str) -> Iterator[Server]:
    server = Server(redis62_url)
    yield server
    server.store.close()

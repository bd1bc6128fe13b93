"""The near cache while Sentinel makes another server the primary: its connection goes with the reads."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.sentinel import Sentinel, SentinelConnectionPool

from django_cacheaside.engine.near.cache import NearCache
from django_cacheaside.engine.near.policy import NearPolicy
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.keys import KeySpace
from django_cacheaside.store.pool import Pool
from django_cacheaside.store.store import Store
from django_cacheaside.store.tracking import Tracking
from example_project.embedded import EmbeddedServer
from tests.servers import redis62_binary

pytestmark = pytest.mark.faults

DEADLINE_S = 30.0
MAX_STALENESS_S = 1.0
NAME = "near"
SPACE = KeySpace("faults.near", "main", str)


def until(is_so: Callable[[], object]) -> None:
    """Wait for another process."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@dataclass
class Watch:
    """A Sentinel over a primary and its replica."""

    sentinel: Sentinel
    client: redis.Redis

    def primary(self) -> tuple[str, int]:
        return self.sentinel.discover_master(NAME)

    def fail_over(self) -> None:
        """Make the replica the primary; the old one becomes its replica."""
        before = self.primary()
        until(self._begins)
        until(lambda: self.primary() != before)

    def _begins(self) -> bool:
        """It does not before Sentinel has heard from the replica."""
        with suppress(redis.ResponseError):
            return bool(self.client.execute_command("SENTINEL", "FAILOVER", NAME))
        return False


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with (
        EmbeddedServer(redis62_binary(), tcp=True) as primary,
        EmbeddedServer(redis62_binary(), tcp=True, repl_diskless_sync_delay=0) as replica,
    ):
        with redis.Redis.from_url(replica.url) as client:
            client.replicaof("127.0.0.1", str(primary._port))
            until(lambda: client.info("replication")["master_link_status"] == "up")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = tmp_path / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {primary._port} 1\n"
            f"sentinel down-after-milliseconds {NAME} 500\n"
        )
        process = subprocess.Popen([redis62_binary(), settings, "--sentinel"], cwd=tmp_path, stdout=subprocess.DEVNULL)
        try:
            with redis.Redis(port=port) as client:
                until(lambda: _replicas(client) == 1)
                yield Watch(Sentinel([("127.0.0.1", port)], socket_timeout=1.0), client)
        finally:
            process.terminate()
            process.wait()


def _replicas(client: redis.Redis) -> int:
    with suppress(redis.RedisError):
        return int(client.sentinel_master(NAME)["num-slaves"])
    return 0


def value(body: bytes) -> bytes:
    return b"\xcaV" + b"nonce-01" + round((time.time() + 60) * 1000).to_bytes(8, "big") + body


def put(watch: Watch, store: Store, body: bytes) -> None:
    """What a reader fills, at the primary as it is."""
    run = store.probe()
    store.trust(run)
    client = watch.sentinel.master_for(NAME)
    client.set(SPACE.epoch, b"\xcaG" + b"nonce-01" + run, ex=60)
    client.set(SPACE.entry("1"), value(body), ex=60)


class TestFailover:
    def test_what_the_old_primary_had_is_not_near_any_more(self, watch: Watch) -> None:
        """Nobody reads anything in between: the near cache finds it out by itself.

        Sentinel has the old primary be one for seconds after it has named the new one. Whoever is connected to it
        is served by it until then, near or not.
        """
        parameters = SentinelConnectionPool(NAME, watch.sentinel)
        pool = Pool(parameters, connect_timeout_s=1.0, timeout_s=1.0)
        store = Store(pool, probe_key="faults:probe")
        cache = NearCache(lambda: Tracking(pool.apart()), store.generations.sealed)
        near = cache.space(SPACE, NearPolicy(100_000, MAX_STALENESS_S), life_ms=60_000)
        assert near is not None
        found: list[bytes | None] = [None]

        def is_near() -> bool:
            found[0] = near.find("1")
            if found[0] is None:
                expected = near.expect(["1"])
                with suppress(StoreUnavailableError):
                    seen = store.read_one(SPACE, "1")
                    if expected is not None:
                        near.keep(expected, seen.run, seen.epoch, [seen.entry])
            return found[0] is not None

        put(watch, store, b"old")
        until(is_near)
        assert found[0] is not None
        assert found[0].endswith(b"old")
        first, old = cache.line, watch.primary()
        watch.fail_over()
        until(lambda: redis.Redis(*old).role()[0] == b"slave")
        store.close()
        until(lambda: _writes(store))
        put(watch, store, b"new")
        replaced_s = time.monotonic()
        oldest_s = 0.0
        while True:
            asked_s = time.monotonic()
            raw = near.find("1")
            if raw is None or not raw.endswith(b"old"):
                break
            oldest_s = asked_s - replaced_s
        assert oldest_s <= MAX_STALENESS_S
        until(is_near)
        assert found[0].endswith(b"new")
        assert cache.line is not first
        cache.close()
        store.close()


def _writes(store: Store) -> bool:
    try:
        store.probe()
    except StoreUnavailableError:
        store.close()
        return False
    return True

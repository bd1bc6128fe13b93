"""The server loses keys and goes on: intents, leases, scripts, everything, or a few at random."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from tests.faults import parts
from tests.faults.judge import NEVER, UNTIL_TOLD, until_relayed
from tests.faults.scene import PATIENT, READS, RELAYED_S, Scene, SceneError, until

pytestmark = pytest.mark.faults

KB = 1000

LOST = 200
"""Keys that go at random, one a millisecond."""


def evicted(server: redis.Redis, key: str) -> None:
    """Memory runs short under ``volatile-ttl``, which takes first what expires first."""
    server.config_set("maxmemory-policy", "volatile-ttl")
    server.config_set("maxmemory-samples", 64)
    server.config_set("maxmemory", server.info("memory")["used_memory"] + 1000 * KB)
    for at in range(500):
        server.set(f"somebody else's {at}", b"x" * 20 * KB, ex=100_000)
        if not server.exists(key):
            break
    else:
        raise SceneError("the intent is still there")
    assert server.info("stats")["evicted_keys"] > 0
    server.config_set("maxmemory", 0)


def deleted(server: redis.Redis, key: str) -> None:
    assert server.delete(key) == 1


def flushed(server: redis.Redis, key: str) -> None:
    server.flushall()


@pytest.mark.parametrize("lost", [evicted, deleted, flushed])
class TestIntentsLost:
    """Between intent and COMMIT: readers fill the old row anew, and may see it until the release."""

    def test_others_see_the_old_row_until_the_release(
        self, scene: Scene, lost: Callable[[redis.Redis, str], None]
    ) -> None:
        pk = scene.row()
        scene.reader()
        scene.reader()
        writer = scene.part(**PATIENT)
        scene.begin()
        writer.begin(parts.write, "Product", pk, 1, hold_at=["before-commit", "after-commit"])
        writer.wait_held()
        scene.fault()
        lost(scene.server(), scene.entry_key(pk))
        scene.until_cached(pk, 0)
        writer.go_on()
        writer.wait_held()
        scene.go_on_reading(50)
        writer.go_on()
        commit = writer.result()
        assert not commit.is_guarded
        scene.until_cached(pk, 1)
        scene.heal()
        assert scene.judge(UNTIL_TOLD, commits=[commit]).excused, "held before its release, it shows what the bound is"


class TestIntentsLostAndWriterKilled:
    """Nobody is left to release: others are served the old row for the TTL, unless each commit is in the journal."""

    def test_always_in_the_journal_means_until_it_is_relayed(self, scene: Scene) -> None:
        pk = scene.row()
        scene.reader()
        scene.reader()
        writer = scene.part(JOURNAL="always", **PATIENT)
        scene.begin()
        writer.begin(parts.write, "Product", pk, 1, hold_at=["before-commit", "after-commit"])
        writer.wait_held()
        scene.fault()
        deleted(scene.server(), scene.entry_key(pk))
        scene.until_cached(pk, 0)
        writer.go_on()
        scene.committed(pk, 1, writer.wait_held(), is_guarded=False)
        writer.kill()
        scene.until_cached(pk, 1)
        scene.heal()
        scene.judge(until_relayed(RELAYED_S))


class TestLeaseLost:
    def test_by_flushall_between_lease_and_fill(self, scene: Scene) -> None:
        """A reader that has loaded the old row fills it after a COMMIT whose intent found no lease to void.

        Another row has begun a new epoch by then.
        """
        pk, other = scene.row(), scene.row()
        scene.reader()
        scene.reader()
        late, early, writer = scene.part(), scene.part(), scene.part(**PATIENT)
        server = scene.server()
        for part in (late, early):
            assert part(parts.read_one, "Product", pk) == 0
        scene.begin()
        scene.fault()
        for reader in scene.readers:
            reader.freeze()
        server.delete(scene.entry_key(pk))
        late.begin(parts.read_one, "Product", pk, hold_at=["before-fill"])
        late.wait_held()
        server.flushall()
        commit = writer(parts.write, "Product", pk, 1)
        assert early(parts.read_one, "Product", other) == 0
        late.go_on()
        assert late.result() == 0
        for reader in scene.readers:
            reader.thaw()
        scene.until_cached(pk, 1)
        scene.heal()
        scene.judge(NEVER, commits=[commit])


class TestScriptsLost:
    def test_by_script_flush(self, scene: Scene) -> None:
        """They are sent again, and nobody notices."""
        writer = scene.busy(**PATIENT)
        server = scene.server()
        scene.fault()
        for _ in range(20):
            server.script_flush()
            scene.go_on_reading(READS // 20)
        assert not any(one(parts.is_circuit_open) for one in [*scene.readers, writer])
        commits = scene.settled(writer)
        scene.heal()
        assert all(commit.is_guarded for commit in commits)
        scene.judge(NEVER, commits=commits)


class TestKeysLost:
    def test_at_random(self, scene: Scene) -> None:
        """Whatever goes, and whenever: what was lost with an intent is made good by its release."""
        writer = scene.busy(**PATIENT)
        server = scene.server()
        scene.fault()
        lost = 0

        def lose_one() -> bool:
            nonlocal lost
            key = server.randomkey()
            lost += key is not None and server.delete(key)
            return lost >= LOST

        until(lose_one, f"{LOST} keys are lost", pause_s=0.001)
        scene.go_on_reading(READS)
        commits = scene.settled(writer)
        scene.heal()
        scene.judge(UNTIL_TOLD, commits=commits)

"""A writer killed by SIGKILL, or frozen, on its way through a COMMIT."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import parts
from tests.faults.judge import NEVER, UNTIL_TOLD, Bound
from tests.faults.nursery import Part
from tests.faults.scene import READS, Scene, until

pytestmark = pytest.mark.faults

LIVES = 10
"""Writers that are killed one after the other."""

WRITES = ["in atomic", "in autocommit", "of unknown rows"]


def the_next_write_is_seen(scene: Scene, pk: int, version: int) -> None:
    """Somebody else's, after everything."""
    commit = scene.part()(parts.write, "Product", pk, version)
    scene.commits.append(commit)
    scene.until_cached(pk, version)


@pytest.mark.parametrize("write", WRITES)
class TestKilled:
    def kill_at(self, scene: Scene, point: str, write: str, version: int) -> int:
        """A writer that is dead behind ``point``. Returns the row."""
        pk = scene.row()
        scene.reader()
        writer = scene.part()
        scene.begin()
        writer.begin(parts.write, "Product", pk, 1, write, hold_at=[point])
        at_s = writer.wait_held()
        if version == 1:
            scene.committed(pk, 1, at_s)
        scene.fault()
        writer.kill()
        assert scene.stored(pk) == version
        return pk

    def check(self, scene: Scene, pk: int, version: int) -> None:
        """It is served again, and what it was is not: readers went to the database meanwhile."""
        scene.until_cached(pk, version)
        scene.heal()
        the_next_write_is_seen(scene, pk, 2)
        scene.judge(NEVER)

    def test_before_the_intent(self, scene: Scene, write: str) -> None:
        self.check(scene, self.kill_at(scene, "before-intent", write, 0), 0)

    def test_between_intent_and_commit(self, scene: Scene, write: str) -> None:
        self.check(scene, self.kill_at(scene, "after-intent", write, 0), 0)

    def test_between_commit_and_release(self, scene: Scene, write: str) -> None:
        self.check(scene, self.kill_at(scene, "after-commit", write, 1), 1)

    def test_after_the_release(self, scene: Scene, write: str) -> None:
        self.check(scene, self.kill_at(scene, "after-release", write, 1), 1)

    def test_with_its_acknowledgement_on_the_way(self, scene: Scene, write: str) -> None:
        """PostgreSQL has committed, and nobody was told."""
        pk = scene.row()
        scene.reader()
        line = scene.pg_proxy()
        writer = scene.part(pg=line)
        scene.begin()
        line.hold_replies_to(b"COMMIT" if write == "in atomic" else b"UPDATE")
        writer.begin(parts.write, "Product", pk, 1, write)
        line.wait_held()
        scene.until_stored(pk, 1)
        scene.committed(pk, 1)
        scene.fault()
        writer.kill()
        self.check(scene, pk, 1)

    def test_with_its_commit_on_the_way(self, scene: Scene, write: str) -> None:
        """PostgreSQL gets it when its sender is long dead."""
        pk = scene.row()
        scene.reader()
        line = scene.pg_proxy()
        writer = scene.part(pg=line)
        scene.begin()
        line.hold_at(b"COMMIT" if write == "in atomic" else b"UPDATE")
        writer.begin(parts.write, "Product", pk, 1, write)
        line.wait_held()
        scene.fault()
        writer.kill()
        scene.go_on_reading(200)
        assert scene.stored(pk) == 0
        line.deliver()
        scene.until_stored(pk, 1)
        scene.committed(pk, 1)
        self.check(scene, pk, 1)


class TestKilledAtRandom:
    def test_while_it_writes_on_and_on(self, scene: Scene) -> None:
        """One after the other; what is committed is what somebody has seen in the database."""
        pk = scene.row()
        scene.reader()
        scene.reader()
        observer = scene.observer("Product", pk)
        scene.begin()
        scene.fault()
        for life in range(1, LIVES + 1):
            writer = scene.part(INTENT=3, TIMEOUT=1)
            writer(parts.write_on, "Product", [pk], every_s=0.0, first=life * 1000)
            until(lambda: writer(parts.writes_made) > 5, "some commits")  # noqa: B023  called at once
            scene.go_on_reading(10)
            writer.kill()
        scene.until_cached(pk, LIVES * 1000)
        scene.heal()
        verdict = scene.judge(NEVER, commits=observer(parts.stop_observing))
        assert len(verdict.seen) > LIVES


class TestKilledInTheMiddleOfARelease:
    def test_half_of_it_has_arrived(self, scene: Scene) -> None:
        """Two models, two scripts: the server gets the first one."""
        pk, bay = scene.row(), scene.row("Bay")
        scene.reader()
        scene.reader("Bay")
        line, url = scene.redis_proxy()
        writer = scene.part(redis_url=url)
        scene.begin()
        writer.begin(parts.write_two_models, pk, bay, 1, hold_at=["after-commit"])
        at_s = writer.wait_held()
        for row in (pk, bay):
            scene.committed(row, 1, at_s)
        line.hold_at(b"EVALSHA", count=2)
        writer.go_on()
        line.wait_held()
        scene.fault()
        writer.kill()
        line.cut()
        scene.until_cached(pk, 1)
        scene.until_cached(bay, 1)
        scene.heal()
        the_next_write_is_seen(scene, pk, 2)
        scene.judge(NEVER)


class TestFrozenBetweenIntentAndCommit:
    """For longer than its intents stand: it commits when others are already served the row again."""

    def thaw_and_commit(self, scene: Scene, **settings: Any) -> tuple[int, Part]:
        """A writer that has its acknowledgement and has released nothing yet."""
        pk = scene.row()
        scene.reader(**settings)
        writer = scene.part(**settings)
        scene.begin()
        writer.begin(parts.write, "Product", pk, 1, hold_at=["before-commit", "after-commit"])
        writer.wait_held()
        scene.fault()
        writer.freeze()
        writer.go_on()
        scene.go_on_reading(READS)
        scene.until_cached(pk, 0)
        assert scene.stored(pk) == 0
        writer.thaw()
        return pk, writer

    def test_others_see_the_old_row_until_its_release(self, scene: Scene) -> None:
        pk, writer = self.thaw_and_commit(scene)
        at_s = writer.wait_held()
        scene.go_on_reading(50)
        writer.go_on()
        commit = writer.result()
        assert commit.acked_s == at_s
        assert not commit.is_guarded
        scene.commits.append(commit)
        scene.until_cached(pk, 1)
        scene.heal()
        assert scene.judge(UNTIL_TOLD).excused, "held before its release, it shows what the bound is for"

    def test_and_for_the_ttl_if_it_is_killed_then(self, scene: Scene) -> None:
        ttl_s = 3.0
        pk, writer = self.thaw_and_commit(scene, TTL=ttl_s, JITTER=0)
        scene.committed(pk, 1, writer.wait_held(), is_guarded=False)
        writer.kill()
        scene.until_cached(pk, 1)
        scene.heal()
        scene.judge(Bound(until_told=True, most_s=ttl_s))

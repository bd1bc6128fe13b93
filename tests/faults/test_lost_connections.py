"""The connection to PostgreSQL breaks at COMMIT: the writer can't know whether it happened. And a COMMIT that fails."""

from __future__ import annotations

import pytest

from tests.app.models import Bay
from tests.faults import parts
from tests.faults.judge import NEVER
from tests.faults.nursery import Part
from tests.faults.proxy import Proxy
from tests.faults.scene import Scene
from tests.faults.test_killed import the_next_write_is_seen

pytestmark = pytest.mark.faults

MARKS = {"in atomic": b"COMMIT", "in autocommit": b"UPDATE"}

ABSENT = 10_000_000
"""The primary key of no bay."""


@pytest.mark.parametrize("write", MARKS)
class TestUnknownOutcome:
    def set_up(self, scene: Scene) -> tuple[int, Proxy, Part]:
        pk = scene.row()
        scene.reader()
        line = scene.pg_proxy()
        writer = scene.part(pg=line)
        scene.begin()
        return pk, line, writer

    def check(self, scene: Scene, pk: int, version: int) -> None:
        scene.until_cached(pk, version)
        scene.heal()
        the_next_write_is_seen(scene, pk, 2)
        scene.judge(NEVER)

    def test_not_committed(self, scene: Scene, write: str) -> None:
        """PostgreSQL never gets it."""
        pk, line, writer = self.set_up(scene)
        line.hold_at(MARKS[write])
        writer.begin(parts.write, "Product", pk, 1, write)
        line.wait_held()
        scene.fault()
        line.cut()
        assert writer.result() == "lost"
        scene.go_on_reading(200)
        assert scene.stored(pk) == 0
        self.check(scene, pk, 0)

    def test_committed(self, scene: Scene, write: str) -> None:
        """Its acknowledgement is lost."""
        pk, line, writer = self.set_up(scene)
        line.hold_replies_to(MARKS[write])
        writer.begin(parts.write, "Product", pk, 1, write)
        scene.until_stored(pk, 1)
        line.wait_held()
        scene.committed(pk, 1)
        scene.fault()
        line.cut()
        assert writer.result() == "lost"
        self.check(scene, pk, 1)

    def test_committed_later(self, scene: Scene, write: str) -> None:
        """The writer hears that its connection is lost while its COMMIT is still on the way."""
        pk, line, writer = self.set_up(scene)
        line.hold_at(MARKS[write])
        writer.begin(parts.write, "Product", pk, 1, write)
        line.wait_held()
        scene.fault()
        line.hang_up_clients()
        assert writer.result() == "lost"
        scene.go_on_reading(200)
        assert scene.stored(pk) == 0
        line.deliver()
        scene.until_stored(pk, 1)
        scene.committed(pk, 1)
        self.check(scene, pk, 1)


class TestSureFailure:
    def test_is_released_at_once(self, scene: Scene) -> None:
        """A deferred constraint refuses COMMIT after COMMIT: nothing was written, and hits go on in between."""
        pk = scene.row("Crate", bay=Bay.objects.create())
        reader = scene.reader("Crate")
        writer = scene.part()
        scene.begin()
        scene.fault()
        for _ in range(20):
            assert writer(parts.break_constraint, pk, ABSENT) == "refused"
            scene.until_cached(pk, 0)
            assert reader(parts.last_reads, pk)[-1].version == 0
        assert not writer(parts.is_circuit_open)
        scene.heal()
        commit = scene.part()(parts.write, "Crate", pk, 1)
        scene.commits.append(commit)
        scene.until_cached(pk, 1)
        verdict = scene.judge(NEVER)
        assert verdict.seen == {0, 1}

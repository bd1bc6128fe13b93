"""Many processes and threads that want one row at once: how often the database is asked, and how long they wait."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import OperationalError

from tests.app.models import Product
from tests.faults import parts, readers
from tests.faults.nursery import Part
from tests.faults.scene import Scene

pytestmark = pytest.mark.faults

LOAD_S = 0.05
WAIT_S = 0.25
MARGIN_S = 2.0
"""For a busy machine with two processors, on which 32 threads begin at once."""

SETTINGS: dict[str, Any] = {"WAIT": WAIT_S, "LEASE": 10, "TIMEOUT": 5, "CONNECT_TIMEOUT": 5}

SHAPES = [pytest.param(1, 32, id="one-process"), pytest.param(8, 4, id="eight-processes")]

ERROR = OperationalError("the database is in trouble", 7)
TOLD = "OperationalError('the database is in trouble', 7)"


def fleet(scene: Scene, processes: int, **settings: Any) -> list[Part]:
    """Processes that have read something: connected, scripts loaded."""
    warm = scene.row()
    made = [scene.part(**{**SETTINGS, **settings}) for _ in range(processes)]
    for part in made:
        part(readers.warm_up, warm)
    return made


def at_once(made: list[Part], pk: int, threads: int, **how: Any) -> tuple[list[readers.Answer], int]:
    """All of them read the row in the same moment: what they got, and how many loads there were."""
    at_s = time.monotonic() + 0.5
    for part in made:
        part.begin(readers.stampede, [pk], threads, pause_s=LOAD_S, at_s=at_s, **how)
    told = [part.result() for part in made]
    return [answer for answers, _, _ in told for answer in answers], sum(loads for _, loads, _ in told)


@pytest.mark.parametrize(("processes", "threads"), SHAPES)
class TestStampede:
    def test_is_one_load(self, scene: Scene, processes: int, threads: int) -> None:
        made = fleet(scene, processes, WAIT=10)
        pk = scene.row()
        answers, loads = at_once(made, pk, threads)
        assert [answer.version for answer in answers] == [0] * 32
        assert loads == 1

    def test_and_one_more_for_each_write(self, scene: Scene, processes: int, threads: int) -> None:
        made = fleet(scene, processes, WAIT=10)
        pk = scene.row()
        for version in range(1, 4):
            made[0](parts.write, "Product", pk, version)
            answers, loads = at_once(made, pk, threads)
            assert [answer.version for answer in answers] == [version] * 32
            assert loads == 1

    def test_is_two_if_the_first_reader_is_killed(self, scene: Scene, processes: int, threads: int) -> None:
        """Between its load and its fill. Nobody waits longer than the patience that is set, and one load."""
        made = fleet(scene, processes)
        pk = scene.row()
        dead = scene.part(**SETTINGS)
        dead.begin(readers.hold_and_read, pk, hold_at=["before-fill"])
        dead.wait_held()
        dead.kill()
        answers, loads = at_once(made, pk, threads)
        assert [answer.version for answer in answers] == [0] * 32
        assert 1 + loads == 2
        waited_s = [answer.waited_s for answer in answers]
        assert WAIT_S / 2 < max(waited_s) < WAIT_S + LOAD_S + MARGIN_S

    def test_an_error_of_the_load_reaches_all_of_a_process_as_itself(
        self, scene: Scene, processes: int, threads: int
    ) -> None:
        """The database in trouble is asked once by each process, not once by each reader."""
        made = fleet(scene, processes, WAIT=10)
        pk = scene.row()
        answers, loads = at_once(made, pk, threads, error=ERROR)
        assert [answer.version for answer in answers] == [TOLD] * 32
        assert loads <= processes


class TestControls:
    """Without a guard there are more loads: the tests above can fail."""

    @pytest.mark.parametrize("lose", ["leases_are_everybodys", "nobody_looks_again"])
    def test_of_many_processes(self, scene: Scene) -> None:
        made = fleet(scene, 8, WAIT=10)
        _, loads = at_once(made, scene.row(), 4)
        assert loads > 1

    @pytest.mark.parametrize("lose", ["no_errors_shared"])
    def test_of_many_threads(self, scene: Scene) -> None:
        """Each of them asks a database in trouble."""
        made = fleet(scene, 1, WAIT=10)
        _, loads = at_once(made, scene.row(), 32, error=ERROR)
        assert loads > 8


class TestWait:
    def test_ends_early_if_the_first_readers_load_fails(self, scene: Scene) -> None:
        """At the next poll, not when patience ends."""
        patience_s = 25.0
        (waiting,) = fleet(scene, 1, WAIT=patience_s, LEASE=60)
        (failing,) = fleet(scene, 1)
        pk = scene.row()
        failing.begin(readers.fail_to_read, pk, hold_at=["before-load"])
        failing.wait_held()
        waiting.begin(readers.timed_read, pk, hold_at=["before-acquire", "before-acquire"])
        waiting.wait_held()
        waiting.go_on()
        waiting.wait_held()  # it polls
        failing.go_on()
        assert failing.result() == TOLD
        waiting.go_on()
        version, waited_s = waiting.result()
        assert version == 0
        assert waited_s < patience_s - 5


class TestCoroutines:
    def test_fifty_are_one_load(self, scene: Scene) -> None:
        (part,) = fleet(scene, 1)
        assert part(readers.stampede_of_coroutines, scene.row(), 50) == ([0] * 50, 1)


class TestFallbackLimit:
    LIMIT = 8
    READERS = 200

    def flood(self, scene: Scene, **settings: Any) -> tuple[list[readers.Answer], int, int]:
        (part,) = fleet(scene, 1, FALLBACK_LIMIT=self.LIMIT, **settings)
        part(readers.open_circuit)
        pks = [row.pk for row in Product.objects.bulk_create([Product(version=0) for _ in range(self.READERS)])]
        found: tuple[list[readers.Answer], int, int] = part(readers.stampede, pks, self.READERS, pause_s=LOAD_S)
        return found

    def test_the_database_gets_no_more_at_once(self, scene: Scene) -> None:
        answers, loads, most_at_once = self.flood(scene, FALLBACK_WAIT=20)
        assert [answer.version for answer in answers] == [0] * self.READERS
        assert loads == self.READERS
        assert most_at_once == self.LIMIT

    def test_who_has_no_patience_is_refused(self, scene: Scene) -> None:
        answers, loads, most_at_once = self.flood(scene, FALLBACK_WAIT=0.01)
        served = [answer for answer in answers if answer.version == 0]
        refused = [answer for answer in answers if str(answer.version).startswith("CacheAsideOverloaded(")]
        assert len(served) + len(refused) == self.READERS
        assert len(served) == loads >= self.LIMIT
        assert refused
        assert most_at_once == self.LIMIT

    def test_without_one_they_all_come(self, scene: Scene) -> None:
        """What the limit is for; and that the tests above can fail."""
        (part,) = fleet(scene, 1)
        part(readers.open_circuit)
        pks = [row.pk for row in Product.objects.bulk_create([Product(version=0) for _ in range(40)])]
        _, _, most_at_once = part(readers.stampede, pks, 40, pause_s=10 * LOAD_S)
        assert most_at_once > self.LIMIT

"""Every race twice: with its guard nobody reads an old row, and without it somebody does, so the test can fail."""

from __future__ import annotations

import pytest

from tests.races import commits, failures, fills, indexes, isolation, lite, near, sharing, stale, stampede  # noqa: F401
from tests.races.play import RACES, Mutant, Race
from tests.races.stage import Stage

BY_NAME = [pytest.param(race, id=race.name) for race in RACES]
WITH_MUTANTS = [
    pytest.param(race, mutant, id=f"{race.name}-{mutant.__name__}")  # type: ignore[attr-defined]
    for race in RACES
    for mutant in race.mutants
]


@pytest.mark.parametrize("race", BY_NAME)
def test_nobody_reads_an_old_row(race: Race, stage: Stage) -> None:
    race.scenario(stage)


@pytest.mark.parametrize(("race", "mutant"), WITH_MUTANTS)
def test_the_guard_is_what_wins_it(race: Race, mutant: Mutant, stage: Stage) -> None:
    with mutant(), pytest.raises(AssertionError):
        race.scenario(stage)


def test_every_race_has_a_mutant() -> None:
    assert [race.name for race in RACES if not race.mutants] == []

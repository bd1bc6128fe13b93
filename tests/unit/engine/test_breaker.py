"""When the circuit opens, who probes, and what keeps it open."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.exceptions import StoreUnavailableError


class StoppedClock:
    """A clock that goes only when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep_s(self, duration_s: float, /) -> None:
        self.now_s += duration_s


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


def well() -> bool:
    return True


def away() -> bool:
    raise StoreUnavailableError("still away")


class TestBreaker:
    def test_lets_everybody_through_while_closed(self, clock: StoppedClock) -> None:
        breaker = Breaker(clock, away)
        assert breaker.lets_through()
        assert not breaker.is_open

    def test_lets_nobody_through_until_the_retry(self, clock: StoppedClock) -> None:
        """Once it is open, no request waits for the server."""
        probes: list[int] = []
        breaker = Breaker(clock, lambda: probes.append(1) is None, retry_s=1.0)
        breaker.open("timeout")
        clock.now_s += 0.9
        assert not breaker.lets_through()
        assert not probes

    def test_closes_when_the_probe_succeeds(self, clock: StoppedClock) -> None:
        breaker = Breaker(clock, well, retry_s=1.0)
        breaker.open("timeout")
        clock.now_s += 1.0
        assert breaker.lets_through()
        assert not breaker.is_open

    def test_probes_although_it_is_opened_again_and_again(self, clock: StoppedClock) -> None:
        """Each write that can't be announced says so: a process that writes every second must come back too."""
        breaker = Breaker(clock, well, retry_s=1.0)
        for _ in range(3):
            breaker.open("a write could not announce itself")
            clock.now_s += 0.4
        assert breaker.lets_through()
        assert not breaker.is_open

    def test_waits_again_when_the_probe_fails(self, clock: StoppedClock) -> None:
        breaker = Breaker(clock, away, retry_s=1.0)
        breaker.open("timeout")
        clock.now_s += 1.0
        assert not breaker.lets_through()
        assert breaker.is_open
        clock.now_s += 0.5
        assert not breaker.lets_through()

    def test_stays_open_while_a_debt_can_not_be_paid(self, clock: StoppedClock) -> None:
        """A process that could not void what it wrote must not serve it either."""
        breaker = Breaker(clock, lambda: False, retry_s=1.0)
        breaker.open("a write could not announce itself")
        clock.now_s += 1.0
        assert not breaker.lets_through()
        assert breaker.is_open

    def test_has_one_caller_probe_while_the_others_go_past(self, clock: StoppedClock) -> None:
        seen: list[bool] = []

        def probe() -> bool:
            seen.append(breaker.lets_through())  # another caller, while the probe is under way
            return True

        breaker = Breaker(clock, probe, retry_s=1.0)
        breaker.open("timeout")
        clock.now_s += 1.0
        assert breaker.lets_through()
        assert seen == [False]

    def test_does_not_close_over_what_opened_it_meanwhile(self, clock: StoppedClock) -> None:
        """The probe began before this failure: its success says nothing of it."""

        def probe() -> bool:
            breaker.open("a write could not announce itself")
            return True

        breaker = Breaker(clock, probe, retry_s=1.0)
        breaker.open("timeout")
        clock.now_s += 1.0
        assert not breaker.lets_through()
        assert breaker.is_open

    def test_says_each_change_of_state_once(self, clock: StoppedClock, caplog: pytest.LogCaptureFixture) -> None:
        breaker = Breaker(clock, well, retry_s=1.0)
        with caplog.at_level(logging.INFO, "django_cacheaside"):
            for _ in range(3):
                breaker.open("timeout")
            clock.now_s += 1.0
            breaker.lets_through()
            breaker.lets_through()
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]

    @pytest.mark.parametrize("probe", [well, away], ids=["well", "away"])
    def test_survives_a_probe_that_is_interrupted(self, clock: StoppedClock, probe: Callable[[], bool]) -> None:
        """A KeyboardInterrupt in a probe must not leave the circuit half-open for ever."""
        outcomes: list[Callable[[], bool]] = [interrupted, probe]
        breaker = Breaker(clock, lambda: outcomes.pop(0)(), retry_s=1.0)
        breaker.open("timeout")
        clock.now_s += 1.0
        with pytest.raises(KeyboardInterrupt):
            breaker.lets_through()
        clock.now_s += 1.0
        assert breaker.lets_through() is (probe is well)


def interrupted() -> bool:
    raise KeyboardInterrupt

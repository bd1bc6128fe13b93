"""When the circuit opens, who probes, how it settles, and what keeps it open."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from django_cacheaside.engine.breaker import RETRY_S, Breaker, Hooks, Probed, State, settle_s
from django_cacheaside.exceptions import StoreUnavailableError

SETTLE_S = 1.5
LONG_S = 2.0
"""Longer than a circuit waits for anything."""


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


def well() -> Probed:
    return Probed(b"run", is_paid=True)


def indebted() -> Probed:
    return Probed(b"run", is_paid=False)


def restarted() -> Probed:
    return Probed(b"next run", is_paid=True)


def away() -> Probed:
    raise StoreUnavailableError("still away")


def interrupted() -> Probed:
    raise KeyboardInterrupt


class Server:
    """Answers probes as it is told to, and counts them."""

    def __init__(self, answer: Callable[[], Probed] = well) -> None:
        self.answer = answer
        self.probes = 0

    def __call__(self) -> Probed:
        self.probes += 1
        return self.answer()


def make(
    clock: StoppedClock, probe: Callable[[], Probed], *, hooks: Hooks | None = None, retry_s: float = RETRY_S
) -> Breaker:
    return Breaker(clock, probe, settle_s=SETTLE_S, retry_s=retry_s, hooks=hooks)


def settling(clock: StoppedClock, probe: Callable[[], Probed], *, hooks: Hooks | None = None) -> Breaker:
    """A circuit whose first probe was good just now."""
    breaker = make(clock, probe, hooks=hooks)
    breaker.open("timeout")
    clock.now_s += RETRY_S
    assert not breaker.lets_through()
    assert breaker.state is State.SETTLING
    return breaker


class TestClosed:
    def test_lets_everybody_through(self, clock: StoppedClock) -> None:
        breaker = make(clock, away)
        assert breaker.lets_through()
        assert breaker.lets_announce()
        assert not breaker.is_open


class TestOpen:
    def test_lets_nobody_through_until_the_retry(self, clock: StoppedClock) -> None:
        """Once it is open, no request waits for the server."""
        server = Server()
        breaker = make(clock, server)
        breaker.open("timeout")
        clock.now_s += 0.9 * RETRY_S
        assert not breaker.lets_through()
        assert not breaker.lets_announce()
        assert not server.probes

    def test_probes_although_it_is_opened_again_and_again(self, clock: StoppedClock) -> None:
        """A process that goes on writing must come back too."""
        breaker = make(clock, well)
        for _ in range(3):
            breaker.open("a write could not announce itself")
            clock.now_s += 0.4 * RETRY_S
        breaker.lets_through()
        assert breaker.state is State.SETTLING

    def test_waits_again_when_the_probe_fails(self, clock: StoppedClock) -> None:
        server = Server(away)
        breaker = make(clock, server)
        breaker.open("timeout")
        clock.now_s += RETRY_S
        assert not breaker.lets_through()
        clock.now_s += 0.5 * RETRY_S
        assert not breaker.lets_through()
        assert breaker.state is State.OPEN
        assert server.probes == 1

    def test_has_one_caller_probe_while_the_others_go_past(self, clock: StoppedClock) -> None:
        probes: list[bool] = []

        def probe() -> Probed:
            probes.append(breaker.lets_through())  # another caller, while the probe is under way
            return well()

        breaker = make(clock, probe)
        breaker.open("timeout")
        clock.now_s += RETRY_S
        breaker.lets_through()
        assert probes == [False]

    def test_does_not_settle_over_what_opened_it_meanwhile(self, clock: StoppedClock) -> None:
        """The probe began before this failure: its success says nothing of it."""

        def probe() -> Probed:
            breaker.open("an invalidation was not delivered")
            return well()

        breaker = make(clock, probe)
        breaker.open("timeout")
        clock.now_s += RETRY_S
        breaker.lets_through()
        assert breaker.state is State.OPEN

    @pytest.mark.parametrize("answer", [well, away])
    def test_survives_a_probe_that_is_interrupted(self, clock: StoppedClock, answer: Callable[[], Probed]) -> None:
        """A KeyboardInterrupt in a probe must not leave the circuit half-open for ever."""
        server = Server(interrupted)
        breaker = make(clock, server)
        breaker.open("timeout")
        clock.now_s += RETRY_S
        with pytest.raises(KeyboardInterrupt):
            breaker.lets_through()
        clock.now_s += RETRY_S
        server.answer = answer
        breaker.lets_through()
        assert server.probes == 2
        assert breaker.state is (State.SETTLING if answer is well else State.OPEN)


class TestSettling:
    def test_announces_and_serves_nothing(self, clock: StoppedClock) -> None:
        """Others may not have noticed yet that the server is back, and commit without announcing."""
        breaker = settling(clock, well)
        clock.now_s += 0.99 * SETTLE_S
        assert not breaker.lets_through()
        assert breaker.lets_announce()

    def test_closes_when_it_is_over_and_a_second_probe_is_good(self, clock: StoppedClock) -> None:
        server = Server()
        breaker = settling(clock, server)
        probes = server.probes
        clock.now_s += SETTLE_S
        assert breaker.lets_through()
        assert breaker.state is State.CLOSED
        assert server.probes > probes

    @pytest.mark.parametrize("answer", [away, restarted])
    def test_begins_anew_when_the_server_was_away_again(
        self, clock: StoppedClock, answer: Callable[[], Probed]
    ) -> None:
        """Between two probes it may have been restarted, and somebody may have noticed only that."""
        server = Server()
        breaker = settling(clock, server)
        server.answer = answer
        clock.now_s += SETTLE_S
        assert not breaker.lets_through()
        clock.now_s += 0.9 * SETTLE_S
        assert not breaker.lets_through()
        server.answer = restarted
        for _ in range(2):
            clock.now_s += LONG_S
            breaker.lets_through()
        assert not breaker.is_open

    def test_does_not_close_over_a_restart_during_delivery(self, clock: StoppedClock) -> None:
        server = Server()

        def deliver() -> bool:
            server.answer = restarted
            return True

        breaker = settling(clock, server, hooks=Hooks(deliver=deliver))
        clock.now_s += SETTLE_S
        breaker._probe_if_due()
        assert breaker.state is State.SETTLING

    def test_begins_anew_when_an_operation_fails(self, clock: StoppedClock) -> None:
        server = Server()
        breaker = settling(clock, server)
        clock.now_s += 0.9 * SETTLE_S
        breaker.open("timeout")
        assert breaker.state is State.OPEN
        clock.now_s += 0.1 * SETTLE_S
        assert not breaker.lets_through()
        clock.now_s += 0.9 * SETTLE_S
        assert not breaker.lets_through()
        assert breaker.state is State.SETTLING

    def test_tries_the_server_meanwhile(self, clock: StoppedClock) -> None:
        """Whoever reads on and on would notice that it is away again."""
        server = Server()
        breaker = settling(clock, server)
        server.answer = away
        clock.now_s += RETRY_S
        breaker.lets_through()
        assert breaker.state is State.OPEN

    def test_goes_on_while_a_debt_can_not_be_paid(self, clock: StoppedClock) -> None:
        """A process that could not void what it wrote must not serve it either."""
        server = Server(indebted)
        breaker = settling(clock, server)
        for _ in range(3):
            clock.now_s += LONG_S
            assert not breaker.lets_through()
            assert breaker.lets_announce()
        server.answer = well
        clock.now_s += RETRY_S
        assert breaker.lets_through()

    def test_lasts_until_every_other_process_has_noticed(self) -> None:
        """A probe that fails, the wait, half of it for a thread that is late, and a probe that succeeds."""
        assert settle_s(connect_timeout_s=0.1, timeout_s=0.1) > RETRY_S + RETRY_S / 2 + 0.1 + 0.1


class TestInBackground:
    """As its thread does: the thread itself is in ``test_prober``."""

    def background(self, clock: StoppedClock, server: Server, deliver: Callable[[], bool] = lambda: True) -> Breaker:
        breaker = Breaker(clock, server, settle_s=SETTLE_S, is_in_background=True, hooks=Hooks(deliver=deliver))
        breaker.close()  # no thread: the test takes its turns
        breaker.open("timeout")
        return breaker

    def test_probes_at_once(self, clock: StoppedClock) -> None:
        breaker = self.background(clock, Server())
        assert breaker._probe_if_due() == pytest.approx(RETRY_S / 2)
        assert breaker.state is State.SETTLING

    def test_no_caller_probes(self, clock: StoppedClock) -> None:
        server = Server()
        breaker = self.background(clock, server)
        clock.now_s += 0.4 * RETRY_S
        assert not breaker.lets_through()
        assert not breaker.lets_announce()
        assert not server.probes

    def test_commits_probe_where_the_thread_is_late(self, clock: StoppedClock) -> None:
        """Others wait only so long until this process must have noticed."""
        breaker = self.background(clock, Server())
        clock.now_s += 0.5 * RETRY_S
        assert not breaker.lets_through()
        assert breaker.lets_announce()

    def test_reads_probe_where_threads_do_not_run(self, clock: StoppedClock) -> None:
        breaker = self.background(clock, Server())
        for _ in range(2):
            clock.now_s += SETTLE_S + 4 * RETRY_S
            breaker.lets_through()
        assert not breaker.is_open

    def test_delivers_before_it_closes(self, clock: StoppedClock) -> None:
        """Of those who died before they could tell, only the journal knows."""
        states: list[State] = []
        server = Server()

        def deliver() -> bool:
            states.append(breaker.state)
            return len(states) > 1

        breaker = self.background(clock, server, deliver)
        while breaker.is_open:
            clock.now_s += breaker._probe_if_due()
        assert states == [State.SETTLING, State.SETTLING]
        assert not breaker.is_open

    def test_is_away_again_if_the_server_takes_no_delivery(self, clock: StoppedClock) -> None:
        def deliver() -> bool:
            raise StoreUnavailableError("away")

        breaker = self.background(clock, Server(), deliver)
        breaker._probe_if_due()
        clock.now_s += SETTLE_S
        assert breaker._probe_if_due() == pytest.approx(RETRY_S)
        assert breaker.state is State.OPEN

    def test_callers_deliver_nothing(self, clock: StoppedClock) -> None:
        """They may be in a transaction."""
        delivered: list[int] = []
        breaker = settling(clock, well, hooks=Hooks(deliver=lambda: not delivered.append(1)))
        clock.now_s += SETTLE_S
        assert breaker.lets_through()
        assert not delivered


class TestWhatIsSaid:
    def test_one_line_a_change_of_state(self, clock: StoppedClock, caplog: pytest.LogCaptureFixture) -> None:
        breaker = make(clock, well)
        with caplog.at_level(logging.INFO, "django_cacheaside"):
            for _ in range(3):
                breaker.open("timeout")
            for _ in range(3):
                clock.now_s += LONG_S
                breaker.lets_through()
        assert [record.levelname for record in caplog.records] == ["ERROR", "INFO", "WARNING"]

    def test_flapping_is_no_error_each_time(self, clock: StoppedClock, caplog: pytest.LogCaptureFixture) -> None:
        server = Server()
        breaker = settling(clock, server)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "django_cacheaside"):
            for answer in (away, well, away, well):
                server.answer = answer
                clock.now_s += RETRY_S
                breaker.lets_through()
        assert not caplog.records

    def test_hooks_hear_of_it_once(self, clock: StoppedClock) -> None:
        heard: list[object] = []
        hooks = Hooks(trust=heard.append, opened=heard.append, closed=heard.append)
        breaker = make(clock, well, hooks=hooks)
        breaker.open("timeout")
        breaker.open("another time-out")
        clock.now_s += 2.0
        breaker.lets_through()
        clock.now_s += 3.0
        breaker.lets_through()
        assert heard == ["timeout", b"run", 5.0]

    def test_counts(self, clock: StoppedClock) -> None:
        breaker = make(clock, well)
        assert (breaker.state, breaker.times_opened, breaker.open_s) == (State.CLOSED, 0, 0.0)
        for times in (1, 2):
            breaker.open("timeout")
            assert (breaker.times_opened, breaker.last_reason) == (times, "timeout")
            assert breaker.since_s == clock.now_s
            for _ in range(2):
                clock.now_s += LONG_S
                breaker.lets_through()
            assert breaker.open_s == times * 2 * LONG_S

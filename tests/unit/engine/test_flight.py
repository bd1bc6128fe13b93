"""The two rules by which loads are shared, and that nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_cacheaside.engine.flight import LeasedFlights, QueuedFlights

PATIENCE_S = 10


def never(error: Exception) -> bool:
    return False


def always(error: Exception) -> bool:
    return True


class TestLeasedFlights:
    def test_the_first_opens_and_the_next_joins(self) -> None:
        flights: LeasedFlights[bytes] = LeasedFlights()
        own, joined = flights.board(["a", "b"])
        assert set(own) == {"a", "b"}
        assert not joined
        with ThreadPoolExecutor(1) as other:
            theirs, shared = other.submit(flights.board, ["b", "c"]).result(PATIENCE_S)
        assert set(theirs) == {"c"}
        assert shared["b"] is own["b"]

    def test_takes_no_joiners_once_its_owner_is_about_to_fill(self) -> None:
        """Who begins after a COMMIT must not take a row that was accepted before it."""
        flights: LeasedFlights[bytes] = LeasedFlights()
        own, _ = flights.board(["a"])
        flights.close(own)
        with ThreadPoolExecutor(1) as other:
            theirs, shared = other.submit(flights.board, ["a"]).result(PATIENCE_S)
        assert set(theirs) == {"a"}
        assert not shared

    def test_closing_an_old_flight_leaves_a_newer_one_alone(self) -> None:
        flights: LeasedFlights[bytes] = LeasedFlights()
        first, _ = flights.board(["a"])
        flights.close(first)
        second, _ = flights.board(["a"])
        flights.close(first)
        with ThreadPoolExecutor(1) as other:
            _, shared = other.submit(flights.board, ["a"]).result(PATIENCE_S)
        assert shared["a"] is second["a"]

    def test_a_load_that_reads_its_own_key_does_not_wait_for_itself(self) -> None:
        flights: LeasedFlights[bytes] = LeasedFlights()
        flights.board(["a"])
        own, joined = flights.board(["a"])
        assert set(own) == {"a"}
        assert not joined

    @pytest.mark.parametrize("result", [b"row", None], ids=["accepted", "nothing to share"])
    def test_landing_tells_every_joiner(self, result: bytes | None) -> None:
        flights: LeasedFlights[bytes] = LeasedFlights()
        own, _ = flights.board(["a"])
        with ThreadPoolExecutor(4) as others:
            waiting = [others.submit(lambda: flights.board(["a"])[1]["a"].wait()) for _ in range(4)]
            own["a"].land(result)
            assert [one.result(PATIENCE_S) for one in waiting] == [result] * 4


class TestQueuedFlights:
    def test_who_comes_while_a_load_runs_gets_one_that_begins_later(self) -> None:
        """At most one load runs and one is queued, however many ask: and none is older than who asked for it."""
        flights: QueuedFlights[int] = QueuedFlights()
        loads: list[int] = []
        running, may_end = threading.Event(), threading.Event()

        def load() -> int:
            loads.append(len(loads))
            running.set()
            assert may_end.wait(PATIENCE_S)
            return loads[-1]

        with ThreadPoolExecutor(9) as readers:
            first = readers.submit(flights.load, "a", load, is_shared=never)
            assert running.wait(PATIENCE_S)
            later = [readers.submit(flights.load, "a", load, is_shared=never) for _ in range(8)]
            while flights.waiting("a") < 8:
                assert not any(one.done() for one in later)
            may_end.set()
            assert first.result(PATIENCE_S) == 0
            assert {one.result(PATIENCE_S) for one in later} == {1}
        assert loads == [0, 1]

    def test_a_load_that_fails_is_not_shared(self) -> None:
        flights: QueuedFlights[int] = QueuedFlights()

        def fail() -> int:
            raise LookupError("the database is away")

        with pytest.raises(LookupError):
            flights.load("a", fail, is_shared=never)
        assert flights.load("a", lambda: 7, is_shared=never) == 7

    def test_a_load_inside_a_load_of_the_same_key_goes_past(self) -> None:
        flights: QueuedFlights[int] = QueuedFlights()
        inner: list[int | None] = []

        def load() -> int:
            inner.append(flights.load("a", lambda: 1, is_shared=never))
            return 2

        assert flights.load("a", load, is_shared=never) == 2
        assert inner == [None]

    @pytest.mark.parametrize("is_shared", [always, never])
    def test_an_error_reaches_every_waiter_as_itself(self, is_shared: Callable[[Exception], bool]) -> None:
        """One load fails for all who wait for it; or, if the fault is its owner's, each of them loads."""
        flights: QueuedFlights[int] = QueuedFlights()
        loads: list[int] = []
        running, may_end = threading.Event(), threading.Event()

        def fail() -> int:
            loads.append(1)
            running.set()
            assert may_end.wait(PATIENCE_S)
            raise LookupError("the database is away")

        with ThreadPoolExecutor(9) as readers:
            first = readers.submit(flights.load, "a", fail, is_shared=is_shared)
            assert running.wait(PATIENCE_S)
            later = [readers.submit(flights.load, "a", fail, is_shared=is_shared) for _ in range(8)]
            while flights.waiting("a") < 8:
                assert not any(one.done() for one in later)
            may_end.set()
            errors = [one.exception(PATIENCE_S) for one in (first, *later)]
        told = [error for error in errors if error is not None]
        assert all(type(error) is LookupError and error.args == ("the database is away",) for error in told)
        assert len(loads) == 2, "the one that ran, and the one that all of them share"
        assert len(told) == (9 if is_shared is always else 2)
        assert len({id(error) for error in told}) == len(told), "each thread its own, with its own traceback"

    def test_an_error_of_other_arguments_than_it_keeps_is_raised_as_it_is(self) -> None:
        class Odd(Exception):  # noqa: N818
            def __init__(self, code: int, *, detail: str) -> None:
                super().__init__(f"{code} {detail}")

        flights: LeasedFlights[bytes] = LeasedFlights()
        own, _ = flights.board(["a"])
        with ThreadPoolExecutor(1) as other:
            waiting = other.submit(lambda: flights.board(["a"])[1]["a"].wait())
            own["a"].land(None, odd := Odd(5, detail="x"))
            assert waiting.exception(PATIENCE_S) is odd

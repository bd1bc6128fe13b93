"""Reads past the cache while the server is away: how many at once, who waits for a turn, and who is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from django_cacheaside.engine.access import Access
from django_cacheaside.engine.bypass import Bypass
from django_cacheaside.engine.policy import Policy
from django_cacheaside.engine.source import MISSING, Source
from django_cacheaside.engine.tally import Event, Tally
from django_cacheaside.exceptions import CacheAsideOverloaded, UncacheableRowError
from django_cacheaside.keys import KeySpace

PATIENCE_S = 10.0
LIMIT = 8


class Table(Source[int, str]):
    """Rows whose load can be held. Counts how many are read at once."""

    def __init__(self) -> None:
        self.space = KeySpace("app.row", "main", str)
        self.policy = Policy(ttl_ms=1000, jitter=0, negative_ttl_ms=0, lease_ms=1000, wait_ms=0)
        self.tally = Tally()
        self.ident = str
        self.is_open = threading.Event()
        self.loads: list[Sequence[int]] = []
        self.lingers_s = 0.0
        self.most_at_once = 0
        self.at_once = 0
        self.moved = threading.Condition()

    def load(self, pks: Sequence[int], /) -> Mapping[int, str]:
        with self.moved:
            self.loads.append(pks)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.moved.notify_all()
        try:
            assert self.is_open.wait(PATIENCE_S)
            with self.moved:  # give another one the time to come, if it may
                self.moved.wait_for(lambda: self.at_once > 1, self.lingers_s)
            return {pk: f"row {pk}" for pk in pks if pk >= 0}
        finally:
            with self.moved:
                self.at_once -= 1

    def is_shared(self, error: Exception, /, *, rows: int) -> bool:
        return True

    def encode(self, pk: int, row: str, /) -> bytes:
        if pk == 13:
            raise UncacheableRowError("an unlucky one")
        return row.encode()

    def decode(self, pk: int, raw: bytes, at: int, /) -> str:
        return raw[at:].decode()

    def wait_for(self, loads: int) -> None:
        """Until so many loads are under way."""
        with self.moved:
            assert self.moved.wait_for(lambda: self.at_once == loads, PATIENCE_S), f"{self.at_once} loads at once"


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    yield table
    table.is_open.set()


@pytest.fixture
def readers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(200) as readers:
        yield readers


def occupy(bypass: Bypass, table: Table, readers: ThreadPoolExecutor, number: int = LIMIT) -> list[Future[object]]:
    """As many reads as may are at the database, and stay there."""
    begun: list[Future[object]] = [
        readers.submit(bypass.fall_back_to_one, table, pk, str(pk), Access.FULL) for pk in range(100, 100 + number)
    ]
    table.wait_for(number)
    return begun


class TestLimit:
    def test_two_hundred_readers_are_never_more_than_the_limit(self, table: Table, readers: ThreadPoolExecutor) -> None:
        """With patience enough all of them are answered, in batches and one by one."""
        bypass = Bypass(limit=LIMIT, wait_s=PATIENCE_S)
        ones = [readers.submit(bypass.fall_back_to_one, table, pk, str(pk), Access.FULL) for pk in range(100)]
        many = [readers.submit(bypass.fall_back, table, [pk, pk + 1], Access.FULL) for pk in range(100)]
        table.wait_for(LIMIT)
        table.is_open.set()
        assert [one.result(PATIENCE_S) for one in ones] == [f"row {pk}" for pk in range(100)]
        assert all(len(some.result(PATIENCE_S)) == 2 for some in many)
        assert table.most_at_once == LIMIT
        assert table.tally.counts[Event.OVERLOADED] == 0

    def test_who_gets_no_turn_in_time_is_refused(self, table: Table, readers: ThreadPoolExecutor) -> None:
        bypass = Bypass(limit=LIMIT, wait_s=0.01)
        begun = occupy(bypass, table, readers)
        for refused in (
            readers.submit(bypass.fall_back_to_one, table, 1, "1", Access.FULL),
            readers.submit(bypass.fall_back, table, [1, 2], Access.FULL),
        ):
            with pytest.raises(CacheAsideOverloaded, match="FALLBACK_LIMIT"):
                refused.result(PATIENCE_S)
        assert table.tally.counts[Event.OVERLOADED] == 2
        table.is_open.set()
        assert [one.result(PATIENCE_S) for one in begun] == [f"row {100 + at}" for at in range(LIMIT)]
        assert len(table.loads) == LIMIT

    def test_a_turn_comes_back_after_a_load_that_fails(self, table: Table) -> None:
        bypass = Bypass(limit=1, wait_s=0.0)
        table.is_open.set()
        table.load = lambda pks, /: 1 // 0  # type: ignore[assignment,method-assign,return-value]
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                bypass.fall_back_to_one(table, 1, "1", Access.FULL)
            with pytest.raises(ZeroDivisionError):
                bypass.fall_back(table, [1], Access.FULL)

    def test_one_that_can_not_be_shared_takes_a_turn_of_its_own(
        self, table: Table, readers: ThreadPoolExecutor
    ) -> None:
        bypass, table.lingers_s = Bypass(limit=1, wait_s=PATIENCE_S), 0.03
        running = occupy(bypass, table, readers, 1)
        begun = [readers.submit(bypass.fall_back_to_one, table, 13, "13", Access.FULL) for _ in range(5)]
        table.is_open.set()
        assert [one.result(PATIENCE_S) for one in (*running, *begun)] == ["row 100", *["row 13"] * 5]
        assert table.most_at_once == 1

    def test_a_refusal_reaches_all_who_share_the_read(self, table: Table, readers: ThreadPoolExecutor) -> None:
        """They asked for one load: it was refused once."""
        may_wait, is_waiting = threading.Event(), threading.Event()
        bypass = Bypass(limit=1, wait_s=0.0)
        first = bypass._turns
        assert first is not None
        begun = occupy(bypass, table, readers, 1)

        class Held(threading.BoundedSemaphore):
            """The same turns; who asks for one stands here first."""

            def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
                is_waiting.set()
                assert may_wait.wait(PATIENCE_S)
                return first.acquire(timeout=timeout)

        bypass._turns = Held(1)
        owner = readers.submit(bypass.fall_back_to_one, table, 1, "1", Access.FULL)
        assert is_waiting.wait(PATIENCE_S)
        others = [readers.submit(bypass.fall_back_to_one, table, 1, "1", Access.FULL) for _ in range(5)]
        while bypass._queued.waiting(table.space.entry("1")) < 5:
            assert not any(one.done() for one in others)
        may_wait.set()
        errors = [one.exception(PATIENCE_S) for one in (owner, *others)]
        assert [type(error) for error in errors] == [CacheAsideOverloaded] * 6
        assert len({id(error) for error in errors}) == 6, "each thread its own, with its own traceback"
        assert table.tally.counts[Event.OVERLOADED] == 2, "the owner's, and the one that the others share"
        table.is_open.set()
        assert [one.result(PATIENCE_S) for one in begun] == ["row 100"]

    @pytest.mark.parametrize("pks", [[1], [1, 2]], ids=["one", "many"])
    def test_a_transaction_waits_for_no_turn(self, table: Table, readers: ThreadPoolExecutor, pks: list[int]) -> None:
        """It holds a connection, and locks perhaps: it takes a turn that is free, or is refused at once."""
        bypass = Bypass(limit=LIMIT, wait_s=3600.0)
        begun = occupy(bypass, table, readers)

        def read() -> object:
            if len(pks) == 1:
                return bypass.fall_back_to_one(table, pks[0], str(pks[0]), Access.IN_TRANSACTION)
            return bypass.fall_back(table, pks, Access.IN_TRANSACTION)

        with pytest.raises(CacheAsideOverloaded):
            readers.submit(read).result(PATIENCE_S)
        table.is_open.set()
        assert len([one.result(PATIENCE_S) for one in begun]) == LIMIT
        assert readers.submit(read).result(PATIENCE_S) in ("row 1", {1: "row 1", 2: "row 2"})

    def test_a_transaction_joins_nobody_who_may_wait_for_a_turn(
        self, table: Table, readers: ThreadPoolExecutor
    ) -> None:
        bypass = Bypass(limit=2, wait_s=3600.0)
        begun = occupy(bypass, table, readers, 1)
        same = readers.submit(bypass.fall_back_to_one, table, 100, "100", Access.IN_TRANSACTION)
        table.wait_for(2)
        table.is_open.set()
        assert {one.result(PATIENCE_S) for one in (*begun, same)} == {"row 100"}

    @pytest.mark.parametrize("pks", [[1], [1, 2]], ids=["one", "many"])
    def test_a_transaction_that_has_written_needs_none(
        self, table: Table, readers: ThreadPoolExecutor, pks: list[int]
    ) -> None:
        """It holds locks that others may wait for: its reads go on, whatever else is at the database."""
        bypass = Bypass(limit=LIMIT, wait_s=0.0)
        begun = occupy(bypass, table, readers)
        if len(pks) == 1:
            reading = readers.submit(bypass.fall_back_to_one, table, 1, "1", Access.LOOK)
        else:
            reading = readers.submit(bypass.fall_back, table, pks, Access.LOOK)  # type: ignore[arg-type]
        table.wait_for(LIMIT + 1)
        table.is_open.set()
        assert reading.result(PATIENCE_S) in ("row 1", {1: "row 1", 2: "row 2"})
        assert len([one.result(PATIENCE_S) for one in begun]) == LIMIT

    def test_a_read_because_of_an_open_commit_needs_none(self, table: Table, readers: ThreadPoolExecutor) -> None:
        """The server is there: the limit is for when it is away."""
        bypass = Bypass(limit=LIMIT, wait_s=0.0)
        occupy(bypass, table, readers)
        reading = readers.submit(bypass.load_one, table, 1, "1", Access.FULL)
        table.wait_for(LIMIT + 1)
        table.is_open.set()
        assert reading.result(PATIENCE_S) == "row 1"

    def test_without_one_everybody_goes(self, table: Table, readers: ThreadPoolExecutor) -> None:
        bypass = Bypass()
        begun = occupy(bypass, table, readers, 100)
        table.is_open.set()
        assert len([one.result(PATIENCE_S) for one in begun]) == 100

    def test_nothing_asked_is_no_read(self, table: Table) -> None:
        assert Bypass(limit=1).fall_back(table, [], Access.FULL) == {}
        assert table.loads == []

    def test_what_is_missing_is_told(self, table: Table) -> None:
        table.is_open.set()
        assert Bypass(limit=1).fall_back(table, [-1, 1], Access.FULL) == {-1: MISSING, 1: "row 1"}
        assert Bypass(limit=1).fall_back_to_one(table, -1, "-1", Access.FULL) is MISSING

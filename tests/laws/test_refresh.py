"""Values served stale, on a real server: who loads them again, when, and what is left of those that can't be stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from django_cacheaside.engine import refresh
from django_cacheaside.engine.access import Access
from django_cacheaside.engine.breaker import Breaker, Probed
from django_cacheaside.engine.policy import Policy
from django_cacheaside.engine.refresh import REST_S, Refresher
from django_cacheaside.engine.source import MISSING, Missing, Sought, Source
from django_cacheaside.engine.tally import Event, Tally
from django_cacheaside.exceptions import StoreUnavailableError, UncacheableRowError
from django_cacheaside.keys import KeySpace
from django_cacheaside.store.acts import Claim, Filling, Own
from django_cacheaside.store.envelope import is_stale
from django_cacheaside.store.store import Store, new_token
from django_cacheaside.store.writes import Writes
from tests.laws.test_store import make_store

LIFE_MS = 60_000
WAIT_S = 0.25


class StoppedClock:
    """Goes only when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep_s(self, duration_s: float, /) -> None:
        self.now_s += duration_s


class Table(Source[int, str]):
    """Rows in a dict."""

    def __init__(self, space: KeySpace, *, loads_in_background: bool) -> None:
        self.space = space
        self.policy = Policy(
            ttl_ms=1000, jitter=0, negative_ttl_ms=1000, lease_ms=30_000, wait_ms=round(1000 * WAIT_S), stale_ms=LIFE_MS
        )
        self.tally = Tally()
        self.ident = str
        self.loads_in_background = loads_in_background
        self.rows = dict.fromkeys(range(20), "new")
        self.loads: list[list[int]] = []
        self.error: BaseException | None = None
        self.meanwhile: Callable[[], object] = int

    def load(self, pks: Sequence[int], /) -> Mapping[int, str]:
        self.loads.append(list(pks))
        if self.error is not None:
            raise self.error
        self.meanwhile()
        return {pk: self.rows[pk] for pk in pks if pk in self.rows}

    def is_shared(self, error: Exception, /, *, rows: int) -> bool:
        return True

    def encode(self, pk: int, row: str, /) -> bytes:
        if row == "odd":
            raise UncacheableRowError("it would come back as another one")
        return row.encode()

    def decode(self, pk: int, raw: bytes, at: int, /) -> str:
        return raw[at:].decode()


class World:
    """One process with a store of its own."""

    def __init__(self, store: Store, table: Table) -> None:
        self.store = store
        self.table = table
        self.clock = StoppedClock()
        self.tasks: list[Callable[[], object]] = []
        self.takes_tasks = True
        self.breaker = Breaker(self.clock, self._probe, settle_s=0.0)
        self.refresher = Refresher(store, self.breaker, self.clock, later=self._later)

    def _probe(self) -> Probed:
        return Probed(self.store.probe(), is_paid=True)

    def _later(self, task: Callable[[], object]) -> bool:
        if self.takes_tasks:
            self.tasks.append(task)
        return self.takes_tasks

    def fill(self, *pks: int, fresh_ms: int = 0) -> dict[int, Sought[int]]:
        """Old values, stale at once: what a reader finds of them."""
        token, space = new_token(), self.table.space
        run = self.store.read_one(space, "0").run
        claims = [Claim(str(pk), None, None) for pk in pks]
        owned = self.store.acquire(space, claims, token, run=run, lease_ms=1000, epoch_ms=10 * LIFE_MS)
        fillings = [
            Filling(str(pk), own.nonce, b"Vold", LIFE_MS, fresh_ms)
            for pk, own in zip(pks, owned, strict=True)
            if isinstance(own, Own)
        ]
        assert self.store.fill(space, fillings, token, epoch_ms=10 * LIFE_MS) == [True] * len(pks)
        return self.look(*pks)

    def look(self, *pks: int) -> dict[int, Sought[int]]:
        found = {}
        for pk in pks:
            seen = self.store.read_one(self.table.space, str(pk))
            found[pk] = Sought(pk, str(pk), seen.run, seen.entry)
        return found

    def stored(self, pk: int) -> str | None:
        """What is in the server: a value, "MISSING", or nothing."""
        entry = self.look(pk)[pk].entry
        if entry is None:
            return None
        return "MISSING" if entry[1:2] == b"N" else entry[18:].decode()

    def refresh(self, stale: dict[int, Sought[int]], access: Access = Access.FULL) -> Mapping[int, str | Missing]:
        return self.refresher.refresh(self.table, stale, access)

    def run_tasks(self) -> None:
        while self.tasks:
            self.tasks.pop(0)()


@pytest.fixture
def store(valkey_url: str) -> Iterator[Store]:
    store = make_store(valkey_url)
    yield store
    store.close()


def make_world(store: Store, *, in_background: bool) -> World:
    return World(store, Table(KeySpace("laws." + os.urandom(6).hex(), "main", str), loads_in_background=in_background))


@pytest.fixture(params=[True, False], ids=["in-background", "inline"])
def world(store: Store, request: pytest.FixtureRequest) -> World:
    return make_world(store, in_background=request.param)


@pytest.fixture
def behind(store: Store) -> World:
    """It loads in the background."""
    return make_world(store, in_background=True)


@pytest.fixture
def inline(store: Store) -> World:
    """It loads where it reads."""
    return make_world(store, in_background=False)


class TestRefresh:
    def test_fills_the_new_value(self, world: World) -> None:
        stale = world.fill(1)
        answered = world.refresh(stale)
        assert answered == ({} if world.table.loads_in_background else {1: "new"})
        world.run_tasks()
        assert world.stored(1) == "new"
        entry = world.look(1)[1].entry
        assert entry is not None
        assert not is_stale(entry, world.store.now_ms()), "it is fresh for its ttl again"
        assert world.table.tally.counts[Event.STALE_HIT] == world.table.tally.counts[Event.REFRESH] == 1

    def test_one_reader_loads_at_a_time(self, behind: World) -> None:
        stale = behind.fill(1)
        for _ in range(5):
            assert behind.refresh(stale) == {}
        assert len(behind.tasks) == 1
        behind.run_tasks()
        assert behind.table.loads == [[1]]
        assert behind.table.tally.counts[Event.STALE_HIT] == 5

    def test_a_batch_is_one_load_of_what_nobody_loads_yet(self, behind: World) -> None:
        stale = behind.fill(1, 2, 3)
        behind.refresh({1: stale[1]})
        behind.refresh(stale)
        behind.run_tasks()
        assert behind.table.loads == [[1], [2, 3]]

    def test_what_another_process_has_filled_meanwhile_is_taken(self, inline: World) -> None:
        stale = inline.fill(1)
        other = World(inline.store, inline.table)
        assert other.refresh(stale) == inline.refresh(stale) == {1: "new"}
        assert inline.table.loads == [[1]]

    def test_what_another_process_loads_is_left_to_it_for_a_while(self, world: World) -> None:
        """Nobody waits for it, and nobody asks at each read of a hot row whether it is through."""
        stale = world.fill(1)
        token = new_token()
        claim = [Claim("1", stale[1].entry, None)]
        world.store.acquire(world.table.space, claim, token, run=stale[1].run, lease_ms=30_000, epoch_ms=LIFE_MS)
        assert world.refresh(stale) == {}
        world.run_tasks()
        assert world.table.loads == []
        world.store.abandon(world.table.space, ["1"], token)
        world.refresh(stale)
        world.run_tasks()
        assert world.table.loads == []
        world.clock.now_s += WAIT_S
        world.refresh(stale)
        world.run_tasks()
        assert world.table.loads == [[1]]

    def test_a_reader_that_may_only_look_loads_nothing(self, world: World) -> None:
        assert world.refresh(world.fill(1), Access.LOOK) == {}
        world.run_tasks()
        assert world.table.loads == []
        assert world.table.tally.counts[Event.STALE_HIT] == 1

    def test_is_refused_if_a_commit_falls_between_lease_and_fill(self, world: World) -> None:
        """What was loaded may be older than that commit: nothing is left to be served."""
        stale = world.fill(1)
        written = Writes()
        written.add_rows(world.table.space, ["1"])

        def commit() -> None:
            token = new_token()
            world.store.place_intents(written, token, intent_ms=10_000)
            world.store.release(written, token)

        world.table.meanwhile = commit
        world.refresh(stale)
        world.run_tasks()
        assert world.stored(1) is None
        assert world.table.tally.counts[Event.REFUSED_FILL] == 1

    def test_while_a_commit_is_open_nothing_is_loaded(self, world: World) -> None:
        stale = world.fill(1)
        written = Writes()
        written.add_rows(world.table.space, ["1"])
        world.store.place_intents(written, new_token(), intent_ms=10_000)
        assert world.refresh(stale) == {}
        world.run_tasks()
        assert world.table.loads == []

    def test_a_row_that_is_gone_is_stored_as_missing(self, world: World) -> None:
        del world.table.rows[1]
        answered = world.refresh(world.fill(1))
        world.run_tasks()
        assert answered == ({} if world.table.loads_in_background else {1: MISSING})
        assert world.stored(1) == "MISSING"

    @pytest.mark.parametrize("case", ["gone", "odd"])
    def test_what_can_not_be_stored_is_not_served_stale_either(self, world: World, case: str) -> None:
        """It is known to be old: it would be loaded again and again, and each time for nothing."""
        if case == "gone":
            del world.table.rows[1]
            world.table.policy = Policy(1000, 0, 0, 30_000, 250, LIFE_MS)  # keeps no negative entries
        else:
            world.table.rows[1] = "odd"
        world.refresh(world.fill(1, 2))
        world.run_tasks()
        assert (world.stored(1), world.stored(2)) == (None, "new")

    def test_without_the_server_the_old_value_is_served(self, world: World) -> None:
        stale = world.fill(1)
        world.store.acquire = _away  # type: ignore[method-assign,assignment]
        assert world.refresh(stale) == {}
        world.run_tasks()
        assert world.table.loads == []
        assert world.breaker.is_open


def _away(*args: object, **kwargs: object) -> None:
    raise StoreUnavailableError("cut off")


class TestFailedLoad:
    def test_serves_the_old_value_and_rests(self, world: World) -> None:
        stale = world.fill(1)
        world.table.error = LookupError("the database is away")
        for _ in range(5):
            assert world.refresh(stale) == {}
            world.run_tasks()
        assert world.table.loads == [[1]]
        assert world.stored(1) == "old"
        assert world.table.tally.counts[Event.FAILED_REFRESH] == 1
        world.table.error = None
        world.clock.now_s += REST_S - 0.01
        world.refresh(stale)
        world.run_tasks()
        assert world.table.loads == [[1]]
        world.clock.now_s += 0.01
        world.refresh(stale)
        world.run_tasks()
        assert world.table.loads == [[1], [1]]
        assert world.stored(1) == "new"

    def test_gives_its_lease_up(self, world: World) -> None:
        """Another process may try at once."""
        stale = world.fill(1)
        world.table.error = LookupError("the database is away")
        world.refresh(stale)
        world.run_tasks()
        (outcome,) = world.store.acquire(
            world.table.space,
            [Claim("1", stale[1].entry, None)],
            new_token(),
            run=stale[1].run,
            lease_ms=1000,
            epoch_ms=LIFE_MS,
        )
        assert isinstance(outcome, Own)

    def test_in_a_readers_own_transaction_reaches_it(self, inline: World) -> None:
        """The transaction may be broken now: who goes on in it would fail at its next statement, and wonder why."""
        stale = inline.fill(1)
        inline.table.error = LookupError("no")
        with pytest.raises(LookupError):
            inline.refresh(stale, Access.IN_TRANSACTION)
        assert inline.refresh(stale) == {}, "and rests"
        assert inline.table.loads == [[1]]

    def test_in_the_background_is_no_transactions_business(self, behind: World) -> None:
        stale = behind.fill(1)
        behind.table.error = LookupError("no")
        assert behind.refresh(stale, Access.IN_TRANSACTION) == {}
        behind.run_tasks()
        assert behind.table.tally.counts[Event.FAILED_REFRESH] == 1

    def test_an_interrupt_is_no_failed_load(self, inline: World) -> None:
        stale = inline.fill(1)
        inline.table.error = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            inline.refresh(stale)


class TestMemory:
    def test_who_finds_no_thread_leaves_the_row_to_the_next(self, behind: World) -> None:
        stale = behind.fill(1)
        behind.takes_tasks = False
        assert behind.refresh(stale) == {}
        behind.takes_tasks = True
        behind.refresh(stale)
        behind.run_tasks()
        assert behind.stored(1) == "new"

    def test_nothing_is_remembered_of_rows_that_were_loaded(self, world: World) -> None:
        world.refresh(world.fill(*range(20)))
        world.run_tasks()
        assert world.refresher._until_s == {}

    def test_is_bounded_whatever_fails(self, inline: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(refresh, "MOST_RESTING", 10)
        inline.table.error = LookupError("the database is away")
        run = inline.store.read_one(inline.table.space, "0").run
        for pk in range(100):
            inline.refresh({pk: Sought(pk, str(pk), run, None)})
        assert len(inline.refresher._until_s) == 10

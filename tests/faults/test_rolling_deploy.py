"""Two releases of a project at work on one row, in processes of their own: no wrong value, and no quarrel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
import redis
from django.db import connections

from django_cacheaside.engine.tally import Event
from tests.faults.released.models import TABLE
from tests.orm.process import Process

DATABASES = ["default", "sqlite"]
pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True, databases=DATABASES)]

_numbers = count(1)
_PRIMARY_KEY = {"postgresql": "bigserial PRIMARY KEY", "sqlite": "integer PRIMARY KEY AUTOINCREMENT"}


class Release:
    """A process that runs one release, asked about one database."""

    def __init__(self, process: Process, db: str) -> None:
        self._process = process
        self._db = db

    def __call__(self, act: str, *args: Any) -> Any:
        return self._process.call(f"tests.faults.released.acts.{act}", self._db, *args)

    def counts(self) -> dict[Event, int]:
        found: dict[Event, int] = self._process.call("tests.faults.released.acts.counts")
        return found

    def write(self, pk: int, **values: Any) -> None:
        self._process.call("tests.faults.test_rolling_deploy.update", self._db, pk, values)


def update(db: str, pk: int, values: dict[str, Any]) -> None:
    """In the other process: with keywords."""
    from tests.faults.released import acts

    acts.update(db, pk, **values)


Start = Callable[..., Release]


@pytest.fixture(scope="module")
def processes(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Process]]:
    """One per release, started by the first test that asks, and the table of all."""
    started: dict[str, Process] = {}
    with django_db_blocker.unblock():
        for db in DATABASES:
            with connections[db].cursor() as cursor:
                cursor.execute(f"CREATE TABLE released_lamp (id {_PRIMARY_KEY[connections[db].vendor]}, {TABLE})")
    yield started
    with ThreadPoolExecutor() as at_once:
        list(at_once.map(Process.close, started.values()))
    with django_db_blocker.unblock():
        for db in DATABASES:
            with connections[db].cursor() as cursor:
                cursor.execute("DROP TABLE released_lamp")


@pytest.fixture(params=DATABASES)
def db(request: pytest.FixtureRequest) -> str:
    """Each database in turn."""
    return request.param


@pytest.fixture
def release(processes: dict[str, Process], db: str, monkeypatch: pytest.MonkeyPatch) -> Start:
    """The process of a release; another one of the same with another ``number``."""

    def running(name: str, number: int = 1) -> Release:
        key = f"{name}/{number}"
        if key not in processes:
            monkeypatch.setenv("CACHEASIDE_TEST_RELEASE", name)
            processes[key] = Process("tests.faults.released.settings")
        return Release(processes[key], db)

    return running


@pytest.fixture
def new_row(db: str) -> Callable[[], int]:
    """Rows with the table's defaults, which nobody has read."""

    def made() -> int:
        with connections[db].cursor() as cursor:
            cursor.execute("INSERT INTO released_lamp (name) VALUES (%s) RETURNING id", [f"lamp {next(_numbers)}"])
            return int(cursor.fetchone()[0])

    return made


class Records:
    """What is told of the columns of the model's entries."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._lost: dict[bytes, bytes] = {}

    def _keys(self) -> list[bytes]:
        return list(self._client.scan_iter("*{released.lamp@*}s:*", count=10_000))

    def lose(self) -> None:
        self._lost = {key: self._client.getdel(key) for key in self._keys()}

    def left(self) -> int:
        return len(self._keys())

    def restore(self) -> None:
        for key, record in self._lost.items():
            self._client.set(key, record, px=600_000)


@pytest.fixture
def records(valkey_url: str) -> Iterator[Records]:
    """To be lost by a test. Other tests find them again."""
    with redis.Redis.from_url(valkey_url) as client:
        records = Records(client)
        yield records
        records.restore()


def stored(db: str, pk: int, column: str) -> Any:
    with connections[db].cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM released_lamp WHERE id = %s", [pk])
        return cursor.fetchone()[0]


def gained(one: Release, before: dict[Event, int], event: Event) -> int:
    return one.counts()[event] - before[event]


ROUNDS, READS = 6, 10


def ratios(one: Release, other: Release, pk: int) -> tuple[float, float]:
    """The hit ratios of two processes that write a row in turn and read it ten times each after each write."""
    hits = [0, 0]
    for number in range(ROUNDS):
        both = [(0, one), (1, other)]
        first, second = both if number % 2 else reversed(both)
        both[number // 2 % 2][1].write(pk, name=f"round {number}")
        for _ in range(READS):
            for place, reader in (first, second):
                hits[place] += reader("read", pk)[1]
    return hits[0] / ROUNDS / READS, hits[1] / ROUNDS / READS


POORER_AND_RICHER = [
    pytest.param("first", "added", id="added with a default"),
    pytest.param("removed", "first", id="removed"),
    pytest.param("excluding", "first", id="excluded"),
]
ALIKE = [
    pytest.param("first", "respelt", id="the attribute renamed"),
]
AT_ODDS = [
    pytest.param("first", "retyped", id="type changed"),
    pytest.param("first", "rescaled", id="scale changed"),
    pytest.param("first", "renamed", id="the column renamed"),
    pytest.param("first", "repointed", id="another column under one attribute"),
]


class TestAnyChange:
    @pytest.mark.parametrize(("old", "new"), [*POORER_AND_RICHER, *ALIKE, *AT_ODDS])
    def test_shows_each_release_its_own_columns(
        self, release: Start, new_row: Callable[[], int], old: str, new: str
    ) -> None:
        """Whoever fills and whoever writes: each read is compared with the database, column by column."""
        one, other = release(old), release(new)
        for first, second in ((one, other), (other, one)):
            pk = new_row()
            for writer in (first, second, None):
                for reader in (first, second, first, second):
                    reader("read", pk)
                if writer is not None:
                    writer("read_and_save", pk, f"saved {next(_numbers)}")
        pks = [new_row() for _ in range(6)]
        one("read_many", pks[:4])
        other("read_many", pks[2:])
        for reader in (one, other, one, other):
            reader("read_many", pks)

    @pytest.mark.parametrize(("old", "new"), [*POORER_AND_RICHER, *ALIKE, *AT_ODDS])
    def test_writes_back_no_default(
        self, db: str, release: Start, new_row: Callable[[], int], old: str, new: str
    ) -> None:
        """A full ``save()`` of a row from the cache, whoever filled it."""
        one, other = release(old), release(new)
        for filler, saver in ((one, other), (other, one)):
            pk = new_row()
            before = [str(stored(db, pk, column)) for column in ("price", "size", "colour", "cost", "by_new")]
            filler("read", pk)
            saver("read_and_save", pk, f"saved {next(_numbers)}")
            assert [str(stored(db, pk, column)) for column in ("price", "size", "colour", "cost", "by_new")] == before


class TestColumnsThatTheOtherHasToo:
    @pytest.mark.parametrize(("old", "new"), [*POORER_AND_RICHER, *ALIKE])
    def test_are_hits_of_the_others_entries(
        self, release: Start, new_row: Callable[[], int], old: str, new: str
    ) -> None:
        poorer, richer = release(old), release(new)
        pk = new_row()
        assert not richer("read", pk)[1]
        assert poorer("read", pk)[1]
        assert richer("read", pk)[1]

    @pytest.mark.parametrize(("old", "new"), POORER_AND_RICHER)
    def test_an_entry_with_fewer_is_filled_over_once(
        self, release: Start, new_row: Callable[[], int], old: str, new: str
    ) -> None:
        poorer, richer = release(old), release(new)
        pk = new_row()
        poorer("read", pk)
        before = richer.counts()
        assert not richer("read", pk)[1]
        assert gained(richer, before, Event.FEWER_COLUMNS) == gained(richer, before, Event.FILL) == 1
        assert poorer("read", pk)[1]
        assert richer("read", pk)[1]

    @pytest.mark.parametrize(("old", "new"), POORER_AND_RICHER)
    def test_keep_both_hit_ratios_within_a_tenth(
        self, release: Start, new_row: Callable[[], int], old: str, new: str
    ) -> None:
        undisturbed = ratios(release("first"), release("first", 2), new_row())
        found = ratios(release(old), release(new), new_row())
        assert min(undisturbed) > 0.9
        assert min(found) >= 0.9 * max(undisturbed), (found, undisturbed)

    def test_that_a_lost_record_described_are_told_again(
        self, release: Start, new_row: Callable[[], int], records: Records
    ) -> None:
        """The server has evicted it, and a process that has not met the other release yet fills over its entries."""
        poorer, richer = release("removed"), release("first")
        pk = new_row()
        richer("read", pk)
        for one in (poorer, richer):
            one("forget")
        records.lose()
        before = poorer.counts()
        assert not poorer("read", pk)[1]
        assert gained(poorer, before, Event.UNDECODABLE) == gained(poorer, before, Event.FILL) == 1
        assert not richer("read", pk)[1]
        assert records.left() == 2
        poorer("forget")
        assert poorer("read", pk)[1]


class TestColumnsAtOdds:
    @pytest.mark.parametrize(("old", "new"), AT_ODDS)
    def test_the_second_goes_past_the_firsts_entries(
        self, release: Start, new_row: Callable[[], int], old: str, new: str
    ) -> None:
        """And fills nothing: or each would replace what the other has just filled, for ever."""
        for first, second in ((release(old), release(new)), (release(new), release(old))):
            pk = new_row()
            assert not first("read", pk)[1]
            before = second.counts()
            for _ in range(5):
                assert not second("read", pk)[1]
                assert first("read", pk)[1]
            assert gained(second, before, Event.FILL) == 0
            assert gained(second, before, Event.OTHER_COLUMNS) == gained(second, before, Event.BYPASS) == 5

    def test_whose_release_has_gone_are_filled_over(
        self, release: Start, new_row: Callable[[], int], records: Records
    ) -> None:
        """Its record has run out: nobody has filled with these columns for ten minutes."""
        gone, here = release("first"), release("renamed")
        pk = new_row()
        gone("read", pk)
        here("forget")
        records.lose()
        assert not here("read", pk)[1]
        assert here("read", pk)[1]


class TestAtOnce:
    @pytest.mark.parametrize(
        ("old", "new", "column", "others"),
        [
            pytest.param("first", "added", "by_new", "by_old", id="added"),
            pytest.param("removed", "first", "price", "by_old", id="removed"),
            pytest.param("first", "renamed", "cost", "by_old", id="renamed"),
        ],
    )
    def test_each_reads_what_it_has_committed(
        self, db: str, release: Start, new_row: Callable[[], int], old: str, new: str, column: str, others: str
    ) -> None:
        """Each writes a column that the other one does not write, and for the most part does not even have."""
        pk = new_row()
        with connections[db].cursor() as cursor:
            cursor.execute("UPDATE released_lamp SET price = 0, cost = 0 WHERE id = %s", [pk])
        one, other = release(old), release(new)
        with ThreadPoolExecutor(2) as both:
            playing = both.submit(one, "play", pk, "by_old", None, 100, 1)
            assert other("play", pk, column, others, 100, 2) == []
            assert playing.result() == []
        assert (stored(db, pk, "by_old"), stored(db, pk, column)) == (100, 100)
        for reader in (one, other):
            reader("read", pk)


class TestNewKeys:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            pytest.param("first", "announced", id="not declared yet, and not served yet"),
            pytest.param("announced", "declared", id="not served yet, and served"),
        ],
    )
    def test_serve_no_old_answer(self, release: Start, db: str, old: str, new: str) -> None:
        """``serve=False`` for one release: it voids what the next one serves."""
        one, other = release(old), release(new)
        price = 1000 + next(_numbers)

        def look() -> list[tuple[list[str], int | None]]:
            return [(reader("names_by_price", price), reader("pk_by_name", name)) for reader in (one, other)]

        for writer in (one, other, one, other):
            name = f"new {next(_numbers)}"
            assert [found[1] for found in look()] == [None, None]
            pk = writer("create", name)
            assert [found[1] for found in look()] == [pk, pk]
            before = look()[0][0]
            writer.write(pk, price=price)
            assert [found[0] for found in look()] == [sorted([*before, name])] * 2
            writer.write(pk, name=name + "!")
            assert [found[1] for found in look()] == [None, None]
            assert [found[0] for found in look()] == [sorted([*before, name + "!"])] * 2

    def test_without_that_release_an_old_answer_is_served(self, release: Start) -> None:
        """Why it is needed: who doesn't know a key can't void it."""
        old, new = release("first"), release("declared")
        price = 1000 + next(_numbers)
        assert new("names_by_price", price) == []
        pk = old("create", f"new {next(_numbers)}")
        old.write(pk, price=price)
        assert new("names_by_price", price) == []

"""The near cache on real servers: what is near is what the server would say, or it is not served.

Most tests work the connection by hand, so that nothing happens between two lines; those of ``TestKeeper`` leave it to
the thread that does it in production.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import ConnectionPool

from django_cacheaside.engine.near.cache import MOST_SPACES, NearCache
from django_cacheaside.engine.near.line import Line
from django_cacheaside.engine.near.policy import NearPolicy
from django_cacheaside.engine.near.space import NearSpace
from django_cacheaside.exceptions import StoreUnavailableError, TrackingRefusedError
from django_cacheaside.failpoints import armed
from django_cacheaside.keys import KeySpace
from django_cacheaside.store.acts import Seen
from django_cacheaside.store.envelope import Found, judge
from django_cacheaside.store.pool import Pool
from django_cacheaside.store.store import Store, new_token
from django_cacheaside.store.tracking import Tracking
from django_cacheaside.store.writes import Writes
from example_project.embedded import EmbeddedValkey
from tests.faults.proxy import Proxy

DEADLINE_S = 10.0
NONCE, OTHER_NONCE = b"nonce-01", b"nonce-02"
SPACE = KeySpace("laws.near", "main", str)
OTHER_SPACE = KeySpace("laws.nearby", "main", str)


def until(is_so: Callable[[], object]) -> None:
    """Wait for another thread, or for the server."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def value(body: bytes = b"row", *, nonce: bytes = NONCE, fresh_s: float = 60) -> bytes:
    return b"\xcaV" + nonce + round((time.time() + fresh_s) * 1000).to_bytes(8, "big") + body


def missing() -> bytes:
    return b"\xcaN" + NONCE + round((time.time() + 60) * 1000).to_bytes(8, "big")


@dataclass
class World:
    """A near cache, and somebody else who writes to its server."""

    url: str
    max_bytes: int = 1_000_000
    max_staleness_s: float = 60.0
    client: redis.Redis = field(init=False)

    def __post_init__(self) -> None:
        self.client = redis.Redis.from_url(self.url)
        self.pool = Pool(ConnectionPool.from_url(self.url), connect_timeout_s=5.0, timeout_s=5.0)
        self.store = Store(self.pool, probe_key="laws:probe")
        self.cache = NearCache(lambda: Tracking(self.pool.apart()), self.store.generations.sealed)
        self.near = self.space(SPACE)
        self.run = self.store.read_one(SPACE, "1").run
        self.client.set(SPACE.epoch, b"\xcaG" + NONCE + self.run, ex=60)

    def space(self, space: KeySpace) -> NearSpace:
        policy = NearPolicy(self.max_bytes, self.max_staleness_s)
        near = self.cache.space(space, policy, life_ms=60_000)
        assert near is not None
        return near

    def connect(self) -> Line:
        """By hand, without a thread."""
        line = Line(Tracking(self.pool.apart()), self.cache)
        self.cache.begin(line)
        line.follow(self.cache.prefixes())
        until(lambda: self._has_answered(line))
        return line

    def _has_answered(self, line: Line) -> bool:
        line.ask(time.monotonic(), patience_s=DEADLINE_S)
        line.wait(DEADLINE_S)
        line.hear()
        return line.synced_s > 0

    def put(self, ident: str, raw: bytes) -> None:
        self.client.set(SPACE.entry(ident), raw, ex=60)

    def told(self, line: Line) -> None:
        """What was done so far has arrived: the server answers behind it."""
        line.wait(DEADLINE_S)

    def read(self, ident: str = "1", *, meanwhile: Callable[[], object] = lambda: None) -> Seen:
        """As the fetch does, on a near miss."""
        expected = self.near.expect([ident])
        seen = self.store.read_one(SPACE, ident)
        meanwhile()
        if expected is not None:
            self.near.keep(expected, seen.run, seen.epoch, [seen.entry])
        return seen

    def quiet(self, line: Line) -> None:
        """Nothing is on its way any more: a look behind an answer finds nothing."""
        before = line.synced_s
        line.ask(time.monotonic(), patience_s=DEADLINE_S)
        until(lambda: line.hear() and line.synced_s > before)

    def close(self) -> None:
        self.cache.close()
        if self.cache.line is not None:
            line = self.cache.line
            line.lose("end of the test")
            line.close()
        self.store.close()
        self.client.close()


@pytest.fixture
def world(valkey_url: str) -> Iterator[World]:
    world = World(valkey_url)
    yield world
    world.client.delete(SPACE.epoch, *(SPACE.entry(str(number)) for number in range(10)))
    world.close()


@pytest.fixture
def own(fresh_valkey: EmbeddedValkey) -> Iterator[World]:
    """On a server of its own, to be killed, and impatient."""
    world = World(fresh_valkey.url, max_staleness_s=0.3)
    yield world
    world.close()


def near_one(world: World, raw: bytes | None = None) -> Line:
    """A connection, and the row 1 near."""
    world.put("1", raw or value())
    line = world.connect()
    world.read()
    assert world.near.find("1") is not None
    return line


class TestHit:
    def test_gives_the_bytes_that_the_server_gave(self, world: World) -> None:
        raw = value(b"the row")
        near_one(world, raw)
        assert world.near.find("1") == raw

    def test_knows_missing_rows(self, world: World) -> None:
        raw = missing()
        near_one(world, raw)
        assert world.near.find("1") == raw

    def test_asks_the_server_for_nothing(self, world: World) -> None:
        near_one(world)
        before = world.client.info("commandstats")["cmdstat_mget"]["calls"]
        assert world.near.find("1") is not None
        assert world.client.info("commandstats")["cmdstat_mget"]["calls"] == before

    def test_of_many_gives_those_that_are_near(self, world: World) -> None:
        near_one(world)
        assert set(world.near.find_many(["0", "1", "2"])) == {"1"}

    def test_is_of_the_databases_generation(self, world: World) -> None:
        """When others wrote to the database past our keys, nothing from before counts."""
        near_one(world)
        world.store.generations.begin("main", "another")
        assert world.near.find("1") is None

    def test_works_on_the_oldest_server(self, redis62_url: str) -> None:
        world = World(redis62_url)
        line = near_one(world)
        world.client.delete(SPACE.entry("1"))
        world.told(line)
        assert world.near.find("1") is None
        world.client.delete(SPACE.epoch)
        world.close()


class TestModified:
    """Whatever is done to a key is heard before the next near read of it: who reads drains the connection first."""

    @pytest.mark.parametrize(
        "act",
        [
            pytest.param(lambda world: world.client.delete(SPACE.entry("1")), id="deleted"),
            pytest.param(lambda world: world.put("1", value(b"newer")), id="replaced"),
            pytest.param(lambda world: world.client.pexpire(SPACE.entry("1"), 1), id="expired"),
            pytest.param(lambda world: world.client.delete(SPACE.epoch), id="epoch-gone"),
            pytest.param(lambda world: world.store.flush([SPACE]), id="flushed"),
            pytest.param(
                lambda world: world.store.place_intents(rows("1"), new_token(), intent_ms=1000), id="intent-of-a-row"
            ),
            pytest.param(
                lambda world: world.store.place_intents(whole(SPACE), new_token(), intent_ms=1000),
                id="intent-of-the-model",
            ),
        ],
    )
    def test_is_not_served(self, world: World, act: Callable[[World], object]) -> None:
        line = near_one(world)
        act(world)
        world.told(line)
        assert world.near.find("1") is None

    def test_flushall_drops_everything(self, own: World) -> None:
        own.max_staleness_s = 60
        line = near_one(own)
        own.client.flushall()
        own.told(line)
        assert own.near.find("1") is None
        assert own.cache.state().models["laws.near"].entries == 0

    def test_leaves_other_rows_near(self, world: World) -> None:
        line = near_one(world)
        world.put("2", value())
        world.told(line)
        assert world.near.find("1") is not None

    def test_counts_what_was_dropped(self, world: World) -> None:
        line = near_one(world)
        world.client.delete(SPACE.entry("1"))
        world.told(line)
        world.near.find("1")
        assert world.cache.state().models["laws.near"].dropped == 1

    def test_another_thread_that_has_not_yet_applied_it_makes_a_miss(self, world: World) -> None:
        """The push is off the connection, so nothing seems to have arrived; but the old entry is still there."""
        line = near_one(world)
        world.client.delete(SPACE.entry("1"))
        world.told(line)
        is_held, goes_on = threading.Event(), threading.Event()

        def hold() -> None:
            is_held.set()
            assert goes_on.wait(DEADLINE_S)

        with armed("before-drop", hold):
            other = threading.Thread(target=line.hear)
            other.start()
            assert is_held.wait(DEADLINE_S)
            assert line.is_silent()
            assert world.near.find("1") is None
            goes_on.set()
            other.join()
        assert world.near.find("1") is None

    def test_what_an_interrupt_left_unapplied_drops_everything(self, world: World) -> None:
        line = near_one(world)
        world.client.delete(SPACE.entry("1"))
        world.told(line)

        def interrupt() -> None:
            raise KeyboardInterrupt

        with armed("before-drop", interrupt), pytest.raises(KeyboardInterrupt):
            world.near.find("1")
        assert world.near.find("1") is None
        line.close()


class TestKeep:
    def test_is_void_if_the_entry_was_modified_since_the_server_was_asked(self, world: World) -> None:
        """The reply left the server before the write; the write is heard before the reply is taken."""
        old = value(b"old")
        world.put("1", old)
        line = world.connect()

        def replace() -> None:
            world.put("1", value(b"new"))
            world.told(line)
            assert world.near.find("1") is None

        assert world.read(meanwhile=replace).entry == old
        assert world.near.find("1") is None

    def test_is_void_if_the_epoch_was_modified_since_the_server_was_asked(self, world: World) -> None:
        world.put("1", value())
        line = world.connect()

        def flush() -> None:
            world.store.flush([SPACE])
            world.told(line)
            assert world.near.find("1") is None

        world.read(meanwhile=flush)
        assert world.near.find("1") is None

    def test_is_void_if_everything_was_dropped_since(self, world: World) -> None:
        world.put("1", value())
        world.connect()
        world.read(meanwhile=world.cache.clear)
        assert world.near.find("1") is None

    def test_is_void_on_another_connection(self, world: World) -> None:
        """What was done between the two connections was told to neither."""
        world.put("1", value())
        first = world.connect()

        def reconnect() -> None:
            first.lose("cut")
            first.close()
            world.client.delete(SPACE.entry("1"))
            world.connect()

        world.read(meanwhile=reconnect)
        assert world.near.find("1") is None

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(lambda: value(nonce=OTHER_NONCE), id="another-epochs"),
            pytest.param(lambda: b"\xcaW" + b"writer-one.." + (2**62).to_bytes(8, "big"), id="intent"),
            pytest.param(lambda: value(fresh_s=-1), id="no-longer-fresh"),
            pytest.param(lambda: b"anything", id="foreign"),
            pytest.param(lambda: missing() + b"more", id="more-than-missing"),
        ],
    )
    def test_is_for_valid_values_only(self, world: World, raw: Callable[[], bytes]) -> None:
        world.put("1", raw())
        world.connect()
        world.read()
        assert world.near.find("1") is None
        assert world.cache.state().models["laws.near"].entries == 0

    def test_ends_when_the_value_ends_being_fresh(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Though the server, which drops what expires when it comes by, has not said so."""
        world.put("1", value(fresh_s=20))
        world.connect()
        world.read()
        assert world.near.find("1") is not None
        now_s = time.monotonic()
        monkeypatch.setattr("django_cacheaside.engine.near.space.monotonic", lambda: now_s + 21)
        assert world.near.find("1") is None

    def test_ends_with_the_longest_life_whatever_the_value_says(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.max_staleness_s = 1000
        near_one(world, value(fresh_s=10**9))
        now_s = time.monotonic()
        world.near.max_staleness_s = 1000
        monkeypatch.setattr("django_cacheaside.engine.near.space.monotonic", lambda: now_s + 59)
        assert world.near.find("1") is not None
        monkeypatch.setattr("django_cacheaside.engine.near.space.monotonic", lambda: now_s + 61)
        assert world.near.find("1") is None

    def test_from_another_server_means_that_ours_is_none_any_more(self, world: World) -> None:
        """Reads go to a new primary while the old one still answers us."""
        near_one(world)
        expected = world.near.expect(["1"])
        assert expected is not None
        line = world.cache.line
        assert line is not None
        world.near.keep(expected, b"other-id", b"\xcaG" + NONCE + b"other-id", [value()])
        assert world.cache.line is None
        assert world.near.find("1") is None
        line.close()

    def test_keeps_within_its_bytes(self, world: World) -> None:
        world.cache._shelves["laws.near"].max_bytes = 2000
        world.connect()
        for number in range(10):
            world.put(str(number), value(b"x" * 100))
        world.connect()
        for number in range(10):
            world.read(str(number))
        counts = world.cache.state().models["laws.near"]
        assert 0 < counts.entries < 10
        assert counts.bytes <= 2000
        assert counts.evicted == 10 - counts.entries

    @settings(
        max_examples=150,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(epoch=st.binary(max_size=30), entry=st.binary(max_size=40), is_ours=st.booleans())
    @example(epoch=b"", entry=b"\xcaV" + NONCE, is_ours=True)
    @example(epoch=b"", entry=b"\xcaV" + NONCE + b"\xff" * 8, is_ours=True)
    def test_of_hostile_bytes_is_what_judge_lets_pass(
        self, world: World, epoch: bytes, entry: bytes, is_ours: bool
    ) -> None:
        line = world.cache.line or world.connect()
        raw_epoch = b"\xcaG" + NONCE + world.run if is_ours else epoch
        world.client.set(SPACE.epoch, raw_epoch, ex=60)
        world.put("1", entry)
        world.quiet(line)
        world.read()
        found = world.near.find("1")
        if found is not None:
            assert found == entry
            assert judge(world.run, raw_epoch, entry) in (Found.HIT, Found.NEGATIVE_HIT)


class TestOwnWrites:
    def test_of_a_row_drop_it_at_once(self, world: World) -> None:
        near_one(world)
        world.cache.drop(rows("1"))
        assert world.near.find("1") is None

    def test_of_a_model_drop_it_at_once(self, world: World) -> None:
        near_one(world)
        world.cache.drop(whole(SPACE))
        assert world.near.find("1") is None

    @pytest.mark.parametrize("written", [pytest.param("row", id="row"), pytest.param("model", id="model")])
    def test_void_a_reply_that_is_under_way(self, world: World, written: str) -> None:
        world.put("1", value())
        world.connect()
        world.read(meanwhile=lambda: world.cache.drop(rows("1") if written == "row" else whole(SPACE)))
        assert world.near.find("1") is None

    def test_of_others_leave_it(self, world: World) -> None:
        near_one(world)
        world.cache.drop(rows("2"))
        world.cache.drop(whole(OTHER_SPACE))
        assert world.near.find("1") is not None


class TestStaleness:
    def test_a_silent_server_counts_for_as_long_as_the_model_allows(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line = near_one(world)
        synced_s = line.synced_s
        monkeypatch.setattr("django_cacheaside.engine.near.space.monotonic", lambda: synced_s + 59.9)
        assert world.near.find("1") is not None
        monkeypatch.setattr("django_cacheaside.engine.near.space.monotonic", lambda: synced_s + 60.1)
        assert world.near.find("1") is None

    def test_an_answer_vouches_for_what_was_done_before_the_question_before_it(self, world: World) -> None:
        """A push may come behind the answer to a command that came after its write, in the same turn of the server."""
        line = world.connect()
        asked_s = []
        for _ in range(3):
            asked_s.append(time.monotonic())
            line.ask(asked_s[-1], patience_s=DEADLINE_S)
            before = line.synced_s
            until(lambda before=before: line.hear() and line.synced_s > before)
        assert line.synced_s == asked_s[-2]

    def test_no_answer_in_time_loses_the_connection(self, world: World) -> None:
        line = near_one(world)
        line.ask(0.0, patience_s=1.0)
        line.ask(0.5, patience_s=1.0)
        assert world.cache.line is line
        line.ask(1.5, patience_s=1.0)
        assert world.cache.line is None
        line.close()

    def test_a_server_that_became_a_replica_is_lost(self, own: World) -> None:
        line = near_one(own)
        own.client.replicaof("127.0.0.1", "1")
        line.ask(time.monotonic(), patience_s=DEADLINE_S)
        until(lambda: not line.is_silent())
        line.hear()
        assert own.cache.line is None
        line.close()


class TestKeeper:
    """With the thread. Until it is through, every read asks the server."""

    def near(self, world: World) -> None:
        """Read until the row is near."""

        def is_near() -> bool:
            if world.near.find("1") is not None:
                return True
            world.read()
            return False

        until(is_near)

    def put_all(self, world: World) -> None:
        """As if the circuit had been opened and closed again meanwhile."""
        world.store.close()
        with pytest.raises(StoreUnavailableError):
            world.store.read_one(SPACE, "1")
        world.store.trust(world.store.probe())
        world.run = world.store.read_one(SPACE, "1").run
        world.client.set(SPACE.epoch, b"\xcaG" + NONCE + world.run, ex=60)
        world.put("1", value())

    def test_connects_at_the_first_read(self, own: World) -> None:
        own.put("1", value())
        assert own.cache.line is None
        assert listeners(own) == 0
        self.near(own)
        assert listeners(own) == 1

    def test_stays_off_where_no_thread_can_be_started(
        self, own: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No read fails of it, and it is said once."""

        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fail)
        own.put("1", value())
        for _ in range(2):
            assert own.near.find("1") is None
            own.read()
        assert own.cache.line is None
        assert caplog.text.count("The near cache stays off") == 1

    def test_takes_up_models_that_come_later(self, own: World) -> None:
        own.put("1", value())
        self.near(own)
        later = own.space(OTHER_SPACE)
        later.find("1")
        until(lambda: later.current_line() is not None)

    def test_has_the_server_answer_all_the_time(self, own: World) -> None:
        """Or nothing would be near for longer than the model allows."""
        own.put("1", value())
        self.near(own)
        line = own.cache.line
        assert line is not None
        first_s = line.synced_s
        until(lambda: line.synced_s > first_s + 2 * own.max_staleness_s)
        assert own.near.find("1") is not None
        assert own.cache.line is line

    def test_connects_again_when_it_was_hung_up_on(self, own: World, caplog: pytest.LogCaptureFixture) -> None:
        own.put("1", value())
        self.near(own)
        caplog.clear()
        own.client.client_kill_filter(_type="normal", skipme=True)
        until(lambda: own.near.find("1") is None)
        assert own.cache.state().models["laws.near"].entries == 0
        self.near(own)
        assert own.cache.state().times_lost == 1
        assert [one.message.partition(":")[0] for one in caplog.records] == [
            "The near cache is empty, and off until it is connected again",
            "The near cache is connected again.",
        ]

    def test_outlives_a_restart(self, own: World, fresh_valkey: EmbeddedValkey) -> None:
        own.put("1", value(b"of the first"))
        self.near(own)
        fresh_valkey.restart()
        until(lambda: own.near.find("1") is None)
        self.put_all(own)
        self.near(own)

    def test_is_off_while_the_server_is_frozen(self, own: World, fresh_valkey: EmbeddedValkey) -> None:
        own.put("1", value())
        self.near(own)
        assert fresh_valkey.pid is not None
        os.kill(fresh_valkey.pid, signal.SIGSTOP)
        try:
            frozen_s = time.monotonic()
            until(lambda: own.near.find("1") is None)
            assert time.monotonic() - frozen_s < 10 * own.max_staleness_s
            until(lambda: not own.cache.state().is_on and own.cache.state().times_lost == 1)
        finally:
            os.kill(fresh_valkey.pid, signal.SIGCONT)
        self.near(own)

    def test_serves_nothing_older_than_allowed_over_a_dead_line(self, own: World, fresh_valkey: EmbeddedValkey) -> None:
        """Nothing arrives any more, not even the end of the connection, and somebody replaces the row."""
        server = fresh_valkey.url.removeprefix("unix://").partition("?")[0]
        address = str(fresh_valkey.directory / "line")
        with Proxy(address, server) as proxy:
            over_the_line = Pool(ConnectionPool.from_url(f"unix://{address}"), connect_timeout_s=1.0, timeout_s=1.0)
            own.cache._keeper._connect = lambda: Tracking(over_the_line.apart())
            own.put("1", value(b"old"))
            self.near(own)
            proxy.hang()
            own.put("1", value(b"new"))
            replaced_s = time.monotonic()
            oldest_s = 0.0
            while True:
                asked_s = time.monotonic()
                if own.near.find("1") is None:
                    break
                oldest_s = asked_s - replaced_s
            assert oldest_s <= own.max_staleness_s
            proxy.mend()
            self.near(own)
            found = own.near.find("1")
            assert found is None or found.endswith(b"new")

    def test_says_once_that_the_server_refuses(
        self, own: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_cacheaside.engine.near.keeper.REFUSED_RETRY_S", 0.01)
        own.client.execute_command("ACL", "SETUSER", "default", "-client|tracking")
        calls = []

        def connect() -> Tracking:
            calls.append(1)
            return Tracking(own.pool.apart())

        own.cache._keeper._connect = connect
        own.near.find("1")
        until(lambda: len(calls) > 3)
        own.cache.close()
        assert [one.levelno for one in caplog.records] == [logging.ERROR]
        assert "CLIENT TRACKING" in caplog.text

    def test_closes_its_connection(self, own: World) -> None:
        own.put("1", value())
        self.near(own)
        own.cache.close()
        assert own.near.find("1") is None
        until(lambda: listeners(own) == 0)


class TestFork:
    @pytest.mark.parametrize(
        "fork", [pytest.param(os.fork, id="python"), pytest.param(ctypes.PyDLL(None).fork, id="untold")]
    )
    def test_a_child_has_a_connection_of_its_own(self, own: World, fork: Callable[[], int]) -> None:
        """uWSGI forks without telling Python: only the number of the process tells."""
        own.max_staleness_s = 60
        line = near_one(own)
        receiver, sender = os.pipe()
        own.cache.changing.acquire()
        child = fork()
        if child == 0:
            try:
                first = own.near.find("1")
                until(lambda: own.near.current_line() is not None)
                own.store.read_one(SPACE, "1")
                own.read()
                is_well = first is None and own.cache.line is not line and own.near.find("1") is not None
                own.cache.drop(rows("1"))
                os.write(sender, b"well" if is_well and own.near.find("1") is None else b"ill!")
            finally:
                os._exit(0)
        own.cache.changing.release()
        os.close(sender)
        with os.fdopen(receiver, "rb") as told:
            assert told.read() == b"well"
        os.waitpid(child, 0)
        assert own.near.find("1") is not None
        own.client.delete(SPACE.entry("1"))
        own.told(line)
        assert own.near.find("1") is None


class TestTracking:
    def test_a_server_without_resp3_refuses(self) -> None:
        """As Redis 5, and proxies."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def refuse() -> None:
                accepted, _ = server.accept()
                with accepted:
                    accepted.recv(1000)
                    accepted.sendall(b"-ERR unknown command `HELLO`\r\n")
                    accepted.recv(1000)

            threading.Thread(target=refuse, daemon=True).start()
            url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
            pool = Pool(ConnectionPool.from_url(url), connect_timeout_s=5.0, timeout_s=5.0)
            with pytest.raises(TrackingRefusedError):
                Tracking(pool.apart())

    def test_works_where_there_is_no_epoll(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on macOS, and under gevent."""
        monkeypatch.delattr("select.epoll", raising=False)
        line = near_one(world)
        assert world.near.find("1") is not None
        world.client.delete(SPACE.entry("1"))
        world.told(line)
        assert world.near.find("1") is None
        line.lose("hung up")
        line.close()
        assert not line.is_silent()

    def test_foreign_keys_are_not_told_of(self, world: World) -> None:
        line = near_one(world)
        world.quiet(line)
        world.client.set("laws.foreign", 1, ex=60)
        world.client.set(SPACE.lease("1"), 1, ex=60)
        world.client.set(OTHER_SPACE.entry("1"), 1, ex=60)
        world.client.ping()
        assert line.is_silent()

    def test_more_models_than_the_server_shall_look_for_are_not_near(self, world: World) -> None:
        policy = NearPolicy(1000, 1.0)
        spaces = [
            world.cache.space(KeySpace(f"laws.near{number}", "main", str), policy, life_ms=1)
            for number in range(MOST_SPACES + 1)
        ]
        assert spaces[MOST_SPACES - 2] is not None
        assert spaces[MOST_SPACES] is None

    def test_keys_that_do_not_begin_alike_are_not_near(self, world: World) -> None:
        space = KeySpace("laws.hashed", "main", lambda raw: str(hash(raw)))
        assert world.cache.space(space, NearPolicy(1000, 1.0), life_ms=1) is None


def listeners(world: World) -> int:
    """How many connections are told of modified keys."""
    return sum("t" in one["flags"] for one in world.client.client_list())


def rows(*idents: str) -> Writes:
    writes = Writes()
    writes.add_rows(SPACE, idents)
    return writes


def whole(space: KeySpace) -> Writes:
    writes = Writes()
    writes.add_model(space)
    return writes

"""What processes tell of their counts: added up, at most once, bounded, and gone a day later. On both servers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
import redis
from redis import ConnectionPool

from django_cacheaside.clock import SystemClock
from django_cacheaside.engine import publisher as publishing
from django_cacheaside.engine.breaker import Breaker, Probed
from django_cacheaside.engine.hot import HotKeys
from django_cacheaside.engine.publisher import HOUR_S, Publisher
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.store import published as record
from django_cacheaside.store.pool import Pool
from django_cacheaside.store.published import Publication, Published
from example_project.embedded import EmbeddedValkey

HOUR = 495_048


class Shared:
    """A record of its own, and the server that keeps it."""

    def __init__(self, url: str) -> None:
        prefix = f"laws:{os.urandom(6).hex()}:"
        self.client = redis.Redis.from_url(url)
        self.pool = Pool(ConnectionPool.from_url(url), connect_timeout_s=5, timeout_s=5)
        self.published = Published(self.pool, lambda raw: prefix + raw)
        self.counts_key, self.hot_key = (f"{prefix}{{cacheaside}}{kind}:{HOUR}" for kind in ("counts", "hot"))

    def add(
        self,
        counts: dict[str, int] | None = None,
        hot: dict[str, int] | None = None,
        *,
        process: str = "one",
        sequence: int = 1,
    ) -> None:
        self.published.add(Publication(HOUR, process, sequence, counts or {}, hot or {}))

    def counts(self) -> dict[str, int]:
        return dict(self.published.read([HOUR]).counts)

    def close(self) -> None:
        self.pool.close()
        self.client.close()


@pytest.fixture(params=["valkey_url", "redis62_url"])
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    shared = Shared(request.getfixturevalue(request.param))
    yield shared
    shared.close()


class TestPublished:
    def test_adds_up_what_processes_tell(self, shared: Shared) -> None:
        shared.add({"a|HIT": 3, "a|MISS": 1}, {"{a}1": 2})
        shared.add({"a|HIT": 4}, {"{a}1": 1, "{a}2": 9}, process="other")
        read = shared.published.read([HOUR - 1, HOUR])
        assert read.counts == {"a|HIT": 7, "a|MISS": 1}
        assert list(read.hot.items()) == [("{a}2", 9), ("{a}1", 3)]
        assert read.processes == 2

    def test_counts_a_publication_once_however_often_it_is_sent(self, shared: Shared) -> None:
        """The reply may be lost, and the pool sends again over a fresh connection."""
        for _ in range(3):
            shared.add({"a|HIT": 3}, {"{a}1": 2}, sequence=7)
        shared.add({"a|HIT": 1}, {"{a}1": 1}, sequence=8)
        read = shared.published.read([HOUR])
        assert read.counts == {"a|HIT": 4}
        assert read.hot == {"{a}1": 3}

    def test_tells_much_in_parts_each_of_them_once(self, shared: Shared) -> None:
        counts = {f"a|trip|{at}": at + 1 for at in range(2 * record.FIELDS_PER_SCRIPT + 5)}
        assert len(Publication(HOUR, "one", 1, counts, {}).parts) == 3
        for _ in range(2):
            shared.add(counts, {"{a}1": 1})
        assert shared.counts() == counts
        shared.add({"a|HIT": 1}, sequence=4)
        assert shared.counts()["a|HIT"] == 1

    def test_is_sent_by_its_text_where_the_script_is_unknown(self, shared: Shared) -> None:
        shared.client.script_flush()
        shared.add({"a|HIT": 3})
        assert shared.counts() == {"a|HIT": 3}

    def test_expires(self, shared: Shared) -> None:
        shared.add({"a|HIT": 3}, {"{a}1": 2})
        for key in (shared.counts_key, shared.hot_key):
            assert record.LIFE_MS - 60_000 < shared.client.pttl(key) <= record.LIFE_MS

    def test_keeps_no_more_fields_than_it_says(self, shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is counted already goes on being counted."""
        monkeypatch.setattr(record, "MOST_FIELDS", 4)
        shared.add({"a": 1, "b": 1})
        shared.add({"c": 1, "d": 1, "a": 1, "e": 1}, sequence=2)
        assert shared.client.hlen(shared.counts_key) == 4
        assert shared.counts() == {"a": 2, "b": 1, "c": 1}
        shared.add({"a": 1}, process="other")
        assert shared.counts()["a"] == 2
        shared.add({"a": 1}, sequence=3)
        assert shared.counts()["a"] == 3

    def test_keeps_the_hottest_keys(self, shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(record, "MOST_HOT", 3)
        shared.add(hot={f"{{a}}{n}": n for n in range(1, 9)})
        assert shared.client.zcard(shared.hot_key) == 3
        assert shared.published.read([HOUR]).hot == {"{a}8": 8, "{a}7": 7, "{a}6": 6}

    def test_survives_what_others_write_there(self, shared: Shared) -> None:
        shared.client.hset(shared.counts_key, mapping={"a|HIT": "many", "b|HIT": b"\xff", "#one": "x", "\xff": "-3"})
        shared.client.expire(shared.counts_key, 60)
        shared.add({"a|HIT": 1, "c|HIT": 2})
        counts = shared.counts()
        assert (counts["a|HIT"], counts["b|HIT"], counts["c|HIT"]) == (0, 0, 2)
        assert min(counts.values()) == 0

    def test_fails_where_its_key_is_something_else(self, shared: Shared) -> None:
        shared.client.set(shared.counts_key, "x", ex=60)
        with pytest.raises(StoreUnavailableError):
            shared.add({"a|HIT": 1})
        with pytest.raises(StoreUnavailableError):
            shared.counts()

    def test_a_full_server_takes_nothing_and_then_all(self, fresh_valkey: EmbeddedValkey) -> None:
        shared = Shared(fresh_valkey.url)
        shared.client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailableError):
            shared.add({"a|HIT": 1})
        shared.client.config_set("maxmemory", 0)
        shared.add({"a|HIT": 1})
        assert shared.counts() == {"a|HIT": 1}
        shared.close()


class Process:
    """One that counts and tells, at a time that stands still."""

    def __init__(self, shared: Shared) -> None:
        self.totals: dict[str, int] = {}
        self.hot = HotKeys()
        self.now_s = float(HOUR * HOUR_S)
        self.breaker = Breaker(SystemClock(), lambda: Probed(b"", is_paid=True), settle_s=0.0)
        self._shared = shared
        self.publisher = self.make()

    def make(self) -> Publisher:
        return Publisher(
            self._shared.published, self.breaker, lambda: dict(self.totals), self.hot, now_s=lambda: self.now_s
        )


class TestPublisher:
    def test_tells_what_is_new(self, shared: Shared) -> None:
        process = Process(shared)
        process.totals["a|HIT"] = 3
        process.publisher.publish()
        process.totals.update({"a|HIT": 5, "a|MISS": 1})
        process.hot.add("{a}1")
        process.publisher.publish()
        read = shared.published.read([HOUR])
        assert read.counts == {"a|HIT": 5, "a|MISS": 1}
        assert read.hot == {"{a}1": 1}
        assert read.processes == 1

    def test_tells_what_turned_out_otherwise(self, shared: Shared) -> None:
        """A hit that proved to be wrong is counted as a miss in its place."""
        process = Process(shared)
        process.totals["a|HIT"] = 3
        process.publisher.publish()
        process.totals.update({"a|HIT": 2, "a|MISS": 1})
        process.publisher.publish()
        assert shared.counts() == {"a|HIT": 2, "a|MISS": 1}

    def test_sends_nothing_where_nothing_is_new(self, shared: Shared) -> None:
        process = Process(shared)
        process.totals["a|HIT"] = 3
        process.publisher.publish()

        def scripts() -> int:
            return int(shared.client.info("commandstats")["cmdstat_evalsha"]["calls"])

        before = scripts()
        process.publisher.publish()
        assert scripts() == before

    def test_leaves_out_what_was_counted_before_it_was_made(self, shared: Shared) -> None:
        """A fork's child has its parent's counts, which the parent tells; so has a runtime with other settings."""
        process = Process(shared)
        process.totals["a|HIT"] = 3
        child = process.make()
        process.totals["a|HIT"] = 4
        child.publish()
        assert shared.counts() == {"a|HIT": 1}

    def test_puts_counts_into_the_hour_in_which_it_tells_them(self, shared: Shared) -> None:
        process = Process(shared)
        process.totals["a|HIT"] = 3
        process.publisher.publish()
        process.totals["a|HIT"] = 5
        process.now_s += HOUR_S
        process.publisher.publish()
        assert shared.published.read([HOUR]).counts == {"a|HIT": 3}
        assert shared.published.read([HOUR + 1]).counts == {"a|HIT": 2}
        assert shared.published.read([HOUR, HOUR + 1]).counts == {"a|HIT": 5}

    def test_keeps_what_the_server_did_not_take(self, fresh_valkey: EmbeddedValkey) -> None:
        """And opens no circuit for it: a count is no reason to read the database."""
        shared = Shared(fresh_valkey.url)
        process = Process(shared)
        shared.client.config_set("maxmemory", 1)
        for hits in (3, 5):
            process.totals["a|HIT"] = hits
            process.hot.add("{a}1")
            with pytest.raises(StoreUnavailableError):
                process.publisher.publish()
        assert not process.breaker.is_open
        shared.client.config_set("maxmemory", 0)
        process.publisher.publish()
        read = shared.published.read([HOUR])
        assert read.counts == {"a|HIT": 5}
        assert read.hot == {"{a}1": 2}
        shared.close()

    def test_gives_up_what_fails_for_an_hour(self, shared: Shared) -> None:
        process = Process(shared)
        shared.client.set(shared.counts_key, "x", ex=60)
        process.totals["a|HIT"] = 3
        with pytest.raises(StoreUnavailableError):
            process.publisher.publish()
        process.totals["a|HIT"] = 5
        process.now_s += 2 * HOUR_S
        process.publisher.publish()
        assert shared.published.read([HOUR + 2]).counts == {"a|HIT": 2}

    def test_tells_again_and_again_by_itself(self, shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(publishing, "INTERVAL_S", 0.01)
        process = Process(shared)
        process.publisher.start()
        for hits in (1, 2):
            process.totals["a|HIT"] = hits
            give_up_s = time.monotonic() + 30
            while shared.counts() != {"a|HIT": hits}:
                assert time.monotonic() < give_up_s
        process.publisher.close()

    def test_tells_the_last_counts_at_exit(self, shared: Shared) -> None:
        process = Process(shared)
        process.publisher.start()
        process.totals["a|HIT"] = 3
        process.publisher.publish_at_exit()
        assert shared.counts() == {"a|HIT": 3}

    def test_tells_nothing_at_exit_that_it_did_not_tell_before(self, shared: Shared) -> None:
        """In a test run nothing is told by itself; nor is a server waited for that is known to be away."""
        silent = Process(shared)
        silent.totals["a|HIT"] = 3
        silent.publisher.publish_at_exit()
        cut_off = Process(shared)
        cut_off.publisher.start()
        cut_off.totals["a|HIT"] = 3
        cut_off.breaker.open("a test")
        cut_off.publisher.publish_at_exit()
        cut_off.publisher.close()
        assert shared.counts() == {}

    def test_fails_no_exit(self, fresh_valkey: EmbeddedValkey) -> None:
        shared = Shared(fresh_valkey.url)
        process = Process(shared)
        process.publisher.start()
        process.totals["a|HIT"] = 3
        fresh_valkey.stop()
        process.publisher.publish_at_exit()
        shared.close()

"""What one process says of its keys and another one hears, on the newest Valkey and on the oldest Redis."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
import redis
from redis import ConnectionPool

from django_cacheaside.keys import KeySpace
from django_cacheaside.store.acts import Heard
from django_cacheaside.store.pool import Pool
from django_cacheaside.store.store import Store

LIFE_MS = 60_000


class Record:
    """One database's record, and the server that keeps it."""

    def __init__(self, url: str) -> None:
        self.key = "cacheaside:{laws/" + os.urandom(6).hex() + "}"
        self.client = redis.Redis.from_url(url)
        self.store = Store(
            Pool(ConnectionPool.from_url(url), connect_timeout_s=5, timeout_s=5), probe_key="{cacheaside}probe"
        )

    def announce(self, mark: str, *, life_ms: int = LIFE_MS, had: str = "") -> Heard:
        return self.store.announce(self.key, mark, f"by {mark}", life_ms=life_ms, had=had)

    def close(self) -> None:
        self.store.close()
        self.client.close()


@pytest.fixture(params=["valkey_url", "redis62_url"])
def record(request: pytest.FixtureRequest) -> Iterator[Record]:
    record = Record(request.getfixturevalue(request.param))
    yield record
    record.close()


class TestAnnounce:
    def test_says_the_same_to_those_who_agree(self, record: Record) -> None:
        one, other = record.announce("a"), record.announce("a")
        assert one.generation == other.generation != ""
        assert one.others == other.others == {}

    def test_tells_those_who_disagree_of_each_other(self, record: Record) -> None:
        assert record.announce("a").others == {}
        assert record.announce("b").others == {"a": "by a"}
        heard = record.announce("a")
        assert heard.others == {"b": "by b"}
        assert heard.generation == ""

    def test_of_somebody_else_ends_the_generation(self, record: Record) -> None:
        """Also where he has come and gone before one looks again."""
        before = record.announce("a").generation
        record.announce("b", life_ms=1)
        time.sleep(0.01)
        heard = record.announce("a", had=before)
        assert heard.others == {}
        assert heard.generation not in ("", before)

    def test_of_somebody_else_ends_the_generation_of_those_who_are_silent(self, record: Record) -> None:
        before = record.announce("a", life_ms=1).generation
        time.sleep(0.01)
        assert record.announce("b", life_ms=1).others == {}
        time.sleep(0.01)
        assert record.announce("a", had=before).generation != before

    def test_of_the_same_after_a_silence_keeps_it(self, record: Record) -> None:
        """A site without visitors for a minute keeps its values."""
        before = record.announce("a", life_ms=1).generation
        time.sleep(0.01)
        assert record.announce("a").generation == before

    def test_restores_what_was_evicted(self, record: Record) -> None:
        before = record.announce("a").generation
        record.client.delete(record.key)
        assert record.announce("a", had=before).generation == before

    def test_tells_for_how_long_it_has_been_said(self, record: Record) -> None:
        assert record.announce("a", life_ms=2000).age_ms == 0
        time.sleep(0.02)
        assert record.announce("a").age_ms >= 20
        assert record.announce("b", life_ms=1).age_ms == 0
        time.sleep(0.01)
        assert record.announce("b").age_ms == 0, "there was a pause"

    def test_has_a_ttl(self, record: Record) -> None:
        record.announce("a")
        assert record.client.pttl(record.key) > LIFE_MS

    @pytest.mark.parametrize(
        "value", ["", "x", "1 2 3", f"{10**15} 5 ab text", f"{10**12} {10**15}  text", b"\xff\x00"], ids=repr
    )
    def test_does_not_believe_what_is_not_ours(self, record: Record, value: str | bytes) -> None:
        record.client.hset(record.key, mapping={"b": value, "a": value})
        heard = record.announce("a")
        assert heard.others == {}
        assert heard.generation
        assert record.client.hkeys(record.key) == [b"a"]

    def test_replaces_a_value_of_another_type(self, record: Record) -> None:
        record.client.set(record.key, "x", ex=60)
        assert record.announce("a").generation
        record.client.set(record.key, "x", ex=60)
        record.store.withdraw(record.key, "a")


class TestWithdraw:
    def test_leaves_the_others_alone(self, record: Record) -> None:
        record.announce("a")
        record.announce("b")
        record.store.withdraw(record.key, "a")
        assert record.announce("b").others == {}


class TestGenerations:
    def test_seal_the_run_of_their_own_database_only(self, record: Record) -> None:
        here, there = KeySpace("shop.product", "here", str), KeySpace("shop.product", "there", str)
        generations = record.store.generations
        bare = record.store.read_one(here, "1").run
        generations.begin("here", "a1")
        first = record.store.read_one(here, "1").run
        assert first != bare == record.store.read_one(there, "1").run
        generations.begin("here", "a1")
        assert record.store.read(here, ["1"])[0].run == first
        generations.begin("here", "a2")
        assert record.store.read_one(here, "1").run not in (bare, first)

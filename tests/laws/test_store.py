"""The store on a real server: what its acts promise beyond the model, and what they cost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import redis
from redis import ConnectionPool

from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.keys import KeySpace
from django_cacheaside.store import scripts
from django_cacheaside.store.acts import Bypass, Claim, Filling, Own, Seen, Value, Wait
from django_cacheaside.store.envelope import HEADER_SIZE, Found, judge
from django_cacheaside.store.pool import Pool
from django_cacheaside.store.store import Store, new_token
from django_cacheaside.store.writes import Writes
from example_project.embedded import EmbeddedValkey

BODY = b"V" + b"schema-1" + b"row"


def make_store(url: str, *, timeout_s: float = 2.0) -> Store:
    pool = Pool(ConnectionPool.from_url(url), connect_timeout_s=timeout_s, timeout_s=timeout_s)
    return Store(pool, probe_key="laws:probe")


@pytest.fixture(params=["valkey_url", "redis62_url"], ids=["valkey", "redis62"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = make_store(url)
    yield store
    store.close()


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def space() -> KeySpace:
    return KeySpace("laws." + os.urandom(6).hex(), "main", str)


def run_of(store: Store, space: KeySpace) -> bytes:
    return store.read_one(space, "1").run


def lease(store: Store, space: KeySpace, *claims: Claim, token: bytes, epoch_ms: int = 20_000) -> list[object]:
    run = run_of(store, space)
    return [*store.acquire(space, claims, token, run=run, lease_ms=30_000, epoch_ms=epoch_ms)]


def fill(store: Store, space: KeySpace, ident: str, own: object, token: bytes, *, body: bytes = BODY) -> bool:
    assert isinstance(own, Own)
    filling = Filling(ident, own.nonce, body, life_ms=60_000, fresh_ms=30_000)
    return store.fill(space, [filling], token, epoch_ms=90_000) == [True]


def put(store: Store, space: KeySpace, ident: str, *, body: bytes = BODY) -> Seen:
    """A value, by the whole way: what a reader sees then."""
    token = new_token()
    (own,) = lease(store, space, Claim(ident), token=token)
    assert fill(store, space, ident, own, token, body=body)
    return store.read_one(space, ident)


def rows(space: KeySpace, *idents: str) -> Writes:
    writes = Writes()
    writes.add_rows(space, idents)
    return writes


def whole(space: KeySpace) -> Writes:
    writes = Writes()
    writes.add_model(space)
    return writes


class TestRead:
    def test_keeps_the_order_over_several_mgets(self, store: Store, space: KeySpace) -> None:
        put(store, space, "1499")
        seen = [one for rows in store.read(space, [str(pk) for pk in range(1500)]) for one in rows.each()]
        assert [at for at, one in enumerate(seen) if one.entry] == [1499]
        assert len({one.epoch for one in seen}) == 1

    def test_names_the_server_that_answered(self, store: Store, space: KeySpace, client: redis.Redis) -> None:
        """An epoch carries it, so that a server that came back from a snapshot serves none of its old values."""
        assert run_of(store, space) == bytes.fromhex(client.info("server")["run_id"])[:8]
        assert put(store, space, "1").epoch[10:] == run_of(store, space)


class TestAcquire:
    def test_owns_each_row_of_a_large_batch(self, store: Store, space: KeySpace) -> None:
        """Several scripts, one epoch."""
        outcomes = lease(store, space, *[Claim(str(pk)) for pk in range(250)], token=new_token())
        assert len(outcomes) == 250
        assert len(set(outcomes)) == 1
        assert isinstance(outcomes[0], Own)

    def test_with_the_valid_entry_as_seen_owns(self, store: Store, space: KeySpace) -> None:
        """Who refreshes a value that is still served, or can't decode it, must get past it."""
        seen = put(store, space, "1")
        assert lease(store, space, Claim("1"), token=new_token()) == [Value(seen.entry)]
        assert lease(store, space, Claim("1", seen=b"another"), token=new_token()) == [Value(seen.entry)]
        assert isinstance(lease(store, space, Claim("1", seen=seen.entry), token=new_token())[0], Own)

    def test_keeps_serving_what_is_refreshed(self, store: Store, space: KeySpace) -> None:
        seen = put(store, space, "1")
        lease(store, space, Claim("1", seen=seen.entry), token=new_token())
        assert store.read_one(space, "1") == seen

    def test_answers_each_row_for_itself(self, store: Store, space: KeySpace) -> None:
        writer, other = new_token(), new_token()
        put(store, space, "value")
        store.place_intents(rows(space, "open"), writer, intent_ms=5000)
        lease(store, space, Claim("leased"), token=other)
        claims = [Claim(ident) for ident in ("open", "leased", "value", "free")]
        kinds = [type(outcome) for outcome in lease(store, space, *claims, token=new_token())]
        assert kinds == [Bypass, Wait, Value, Own]

    def test_delivered_twice_brings_no_nonce_back(self, store: Store, space: KeySpace, client: redis.Redis) -> None:
        """A connection breaks after the server has acquired; the act is sent again over a fresh one. In between another
        reader got a lease under the new epoch and loaded, and a writer took the whole model: had the second delivery
        drawn the same nonce, the other reader's old row would be a hit.
        """
        first, second, writer, run = new_token(), new_token(), new_token(), run_of(store, space)
        keys = [space.epoch, space.entry("1"), space.lease("1")]
        delivery = (scripts.ACQUIRE.text, 3, *keys, first, b"randomly", run, 30_000, 20_000, "", "")
        client.eval(*delivery)
        (own,) = lease(store, space, Claim("2"), token=second)  # and loads the old row
        store.place_intents(whole(space), writer, intent_ms=5000)
        store.release(whole(space), writer)
        client.eval(*delivery)
        fill(store, space, "2", own, second)
        seen = store.read_one(space, "2")
        assert judge(seen.run, seen.epoch, seen.entry) is Found.MISS


class TestFill:
    def test_extends_the_epoch_beyond_the_entry(self, store: Store, space: KeySpace, client: redis.Redis) -> None:
        token = new_token()
        (own,) = lease(store, space, Claim("1"), token=token, epoch_ms=1000)
        assert client.pttl(space.epoch) <= 1000
        fill(store, space, "1", own, token)
        assert client.pttl(space.epoch) > client.pttl(space.entry("1")) > 50_000

    def test_never_shortens_the_epoch(self, store: Store, space: KeySpace, client: redis.Redis) -> None:
        token = new_token()
        (own,) = lease(store, space, Claim("1"), token=token, epoch_ms=500_000)
        fill(store, space, "1", own, token)
        assert client.pttl(space.epoch) > 400_000

    @pytest.mark.parametrize(("left_ms", "is_extended"), [(60_000, False), (40_000, True)])
    def test_extends_the_epoch_when_half_of_it_is_over(
        self, store: Store, space: KeySpace, client: redis.Redis, left_ms: int, is_extended: bool
    ) -> None:
        """Not at each fill: every process that keeps it near would be told, and ask for it again."""
        token = new_token()
        (own,) = lease(store, space, Claim("1"), token=token)
        client.pexpire(space.epoch, left_ms)
        fill(store, space, "1", own, token)
        assert (client.pttl(space.epoch) > 80_000) is is_extended
        assert client.pttl(space.epoch) > 30_000

    def test_leaves_a_later_epoch_alone(self, store: Store, space: KeySpace, client: redis.Redis) -> None:
        """And says that what was stored is nobody's: whoever waits for it may have begun after the flush."""
        token = new_token()
        (own,) = lease(store, space, Claim("1"), token=token)
        store.flush([space])
        lease(store, space, Claim("2"), token=new_token(), epoch_ms=1000)
        assert not fill(store, space, "1", own, token)
        assert client.pttl(space.epoch) <= 1000

    def test_says_until_when_the_value_is_fresh(self, store: Store, space: KeySpace, client: redis.Redis) -> None:
        """By the server's clock."""
        entry = put(store, space, "1").entry
        seconds, micros = client.time()
        left_ms = int.from_bytes(entry[10:HEADER_SIZE], "big") - (seconds * 1000 + micros // 1000)
        assert 20_000 < left_ms <= 30_000

    @pytest.mark.parametrize(("body", "found"), [(BODY, Found.HIT), (b"N", Found.NEGATIVE_HIT)])
    def test_is_what_the_next_reader_finds(self, store: Store, space: KeySpace, body: bytes, found: Found) -> None:
        seen = put(store, space, "1", body=body)
        assert judge(seen.run, seen.epoch, seen.entry) is found
        assert seen.entry[HEADER_SIZE:] == body[1:]


class TestIntents:
    def test_are_dropped_by_the_server_itself(self, store: Store, space: KeySpace, client: redis.Redis) -> None:
        """A writer that dies costs bypasses until its deadline, no longer: the key lives as long as its last intent."""
        store.place_intents(rows(space, "1"), new_token(), intent_ms=60_000)
        store.place_intents(rows(space, "1"), new_token(), intent_ms=5000)
        assert 50_000 < client.pttl(space.entry("1")) <= 60_000
        store.place_intents(whole(space), new_token(), intent_ms=5000)
        assert 0 < client.pttl(space.epoch) <= 5000

    def test_release_tells_how_many_were_gone(self, store: Store, space: KeySpace, client: redis.Redis) -> None:
        token = new_token()
        writes = rows(space, "1", "2", "3")
        writes.add_model(KeySpace(space.label + "other", "main", str))
        store.place_intents(writes, token, intent_ms=5000)
        client.delete(space.entry("1"), space.entry("3"))
        assert store.release(writes, token) == 2
        assert store.release(writes, token) == 4

    def test_of_many_rows_and_models(self, store: Store, space: KeySpace) -> None:
        token, writes = new_token(), rows(space, *map(str, range(250)))
        store.place_intents(writes, token, intent_ms=5000)
        founds = {
            judge(one.run, one.epoch, one.entry)
            for rows in store.read(space, [str(pk) for pk in range(250)])
            for one in rows.each()
        }
        assert founds == {Found.BYPASS}
        assert store.release(writes, token) == 0

    def test_flush_spares_them(self, store: Store, space: KeySpace) -> None:
        """The COMMIT is still open: without its intent a reader would fill the old row."""
        token = new_token()
        put(store, space, "1")
        store.place_intents(whole(space), token, intent_ms=5000)
        store.flush([space])
        seen = store.read_one(space, "1")
        assert judge(seen.run, seen.epoch, seen.entry) is Found.BYPASS
        assert store.release(whole(space), token) == 0


@pytest.fixture
def calls(client: redis.Redis) -> Callable[[], dict[str, int]]:
    """How often each command was called since the last question."""

    def count() -> dict[str, int]:
        stats = client.info("commandstats")
        client.config_resetstat()
        names = {"evalsha", "eval", "mget"}
        return {name: stats[f"cmdstat_{name}"]["calls"] for name in names if f"cmdstat_{name}" in stats}

    count()
    return count


class TestCost:
    def test_a_script_that_the_server_forgot_is_sent_once(
        self, store: Store, space: KeySpace, client: redis.Redis, calls: Callable[[], dict[str, int]]
    ) -> None:
        """One more round trip, with the text of what was refused; from then on by its digest."""
        run_of(store, space)
        client.script_flush()
        store.place_intents(rows(space, "1"), new_token(), intent_ms=5000)
        calls()
        both = rows(space, "2")
        both.add_model(KeySpace(space.label + "other", "main", str))
        store.place_intents(both, new_token(), intent_ms=5000)
        assert calls() == {"evalsha": 2, "eval": 1}
        store.place_intents(both, new_token(), intent_ms=5000)
        assert calls() == {"evalsha": 2}

    def test_a_pipeline_that_was_refused_in_part_answers_in_order(
        self, store: Store, space: KeySpace, client: redis.Redis
    ) -> None:
        client.script_flush()
        token = new_token()
        idents = [str(pk) for pk in range(150)]
        outcomes = lease(store, space, *map(Claim, idents), token=token)
        client.script_flush()
        fillings = [
            Filling(ident, own.nonce, BODY, 60_000, 30_000)
            for ident, own in zip(idents, outcomes, strict=True)
            if isinstance(own, Own)
        ]
        client.delete(space.lease("120"))
        accepted = store.fill(space, fillings, token, epoch_ms=90_000)
        assert [ident for ident, is_in in zip(idents, accepted, strict=True) if not is_in] == ["120"]

    def test_a_cold_batch_costs_a_read_and_two_scripts(
        self, store: Store, space: KeySpace, calls: Callable[[], dict[str, int]]
    ) -> None:
        """For one row or for a hundred."""
        idents, token = [str(pk) for pk in range(100)], new_token()
        store.acquire(space, [Claim("warm")], token, run=bytes(8), lease_ms=1000, epoch_ms=1000)
        store.fill(space, [Filling("warm", bytes(8), BODY, 1000, 1000)], token, epoch_ms=1000)
        calls()
        run = store.read(space, idents)[0].run
        outcomes = store.acquire(space, [*map(Claim, idents)], token, run=run, lease_ms=5000, epoch_ms=5000)
        fillings = [
            Filling(i, o.nonce, BODY, 5000, 5000) for i, o in zip(idents, outcomes, strict=True) if type(o) is Own
        ]
        assert all(store.fill(space, fillings, token, epoch_ms=9000))
        assert calls() == {"mget": 1, "evalsha": 2}

    def test_nothing_to_do_costs_nothing(
        self, calls: Callable[[], dict[str, int]], space: KeySpace, store: Store
    ) -> None:
        store.place_intents(Writes(), new_token(), intent_ms=1000)
        assert store.release(Writes(), new_token()) == 0
        assert store.fill(space, [], new_token(), epoch_ms=1000) == []
        assert store.read(space, []) == []
        assert calls() == {}


class TestAFullServer:
    @pytest.fixture
    def full(self, fresh_valkey: EmbeddedValkey, space: KeySpace) -> Iterator[Store]:
        store = make_store(fresh_valkey.url)
        put(store, space, "1")
        with redis.Redis.from_url(fresh_valkey.url) as client:
            client.config_set("maxmemory", 1)
        yield store
        store.close()

    def test_refuses_what_writes(self, full: Store, space: KeySpace) -> None:
        """No invalidation may be lost without a word."""
        with pytest.raises(StoreUnavailableError, match="maxmemory"):
            full.place_intents(rows(space, "1"), new_token(), intent_ms=5000)
        with pytest.raises(StoreUnavailableError, match="maxmemory"):
            lease(full, space, Claim("2"), token=new_token())
        with pytest.raises(StoreUnavailableError, match="maxmemory"):
            full.probe()

    def test_is_asked_over_the_same_connection(
        self, full: Store, space: KeySpace, fresh_valkey: EmbeddedValkey
    ) -> None:
        """A reply that is an error leaves the connection in step: the next replies are the next commands'."""
        with redis.Redis.from_url(fresh_valkey.url) as client:
            before = client.info("stats")["total_connections_received"]
            for _ in range(5):
                with pytest.raises(StoreUnavailableError):
                    full.place_intents(rows(space, *map(str, range(250))), new_token(), intent_ms=5000)
                seen = full.read_one(space, "1")
                assert judge(seen.run, seen.epoch, seen.entry) is Found.HIT
            assert client.info("stats")["total_connections_received"] == before

    def test_still_releases(self, full: Store, space: KeySpace) -> None:
        """DEL needs no memory."""
        full.release(rows(space, "1"), new_token())
        assert full.read_one(space, "1").entry is None

    def test_probe_passes_once_there_is_room(self, full: Store, fresh_valkey: EmbeddedValkey) -> None:
        with redis.Redis.from_url(fresh_valkey.url) as client:
            client.config_set("maxmemory", 0)
        full.probe()

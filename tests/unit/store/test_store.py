"""The store without a server: how acts are cut into commands, and what it makes of replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisClusterException, ResponseError

from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.keys import KeySpace
from django_cacheaside.store import scripts
from django_cacheaside.store.acts import Bypass, Claim, Filling, Own, Value, Wait
from django_cacheaside.store.pool import Command
from django_cacheaside.store.store import KEYS_PER_MGET, Store
from django_cacheaside.store.writes import ROWS_PER_SCRIPT, Writes

SPACE = KeySpace("shop.product", "main", str)
OTHER = KeySpace("shop.order", "main", str)
TOKEN = b"twelve bytes"
RUN = b"this run"


class FakePool:
    """Answers each pipeline with the next prepared replies, or raises them."""

    def __init__(self, *answers: list[Any] | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[Sequence[Command]] = []

    def pipeline(self, commands: Sequence[Command]) -> tuple[bytes, list[Any]]:
        self.sent.append(commands)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return RUN, answer

    def call(self, command: Command) -> tuple[bytes, Any]:
        run, (reply,) = self.pipeline([command])
        if isinstance(reply, Exception):
            raise reply
        return run, reply


def make_store(*answers: list[Any] | Exception) -> tuple[Store, FakePool]:
    pool = FakePool(*answers)
    return Store(pool, probe_key="probe"), pool  # type: ignore[arg-type]


def idents(count: int) -> list[str]:
    return [str(pk) for pk in range(count)]


class TestOneRoundTrip:
    """Whatever an act holds, it is one pipeline."""

    def test_a_read_of_many_rows(self) -> None:
        first = [b"epoch", *[b"entry"] * KEYS_PER_MGET]
        store, pool = make_store([first, [b"next epoch", b"last"]])
        seen = [one for rows in store.read(SPACE, idents(KEYS_PER_MGET + 1)) for one in rows.each()]
        assert [len(command) for command in pool.sent[0]] == [KEYS_PER_MGET + 2, 3]
        assert (seen[0].epoch, seen[-1].epoch, seen[-1].entry) == (b"epoch", b"next epoch", b"last")
        assert {one.run for one in seen} == {RUN}

    def test_an_acquire_of_many_rows(self) -> None:
        store, pool = make_store([[b"Ononce"] * ROWS_PER_SCRIPT, [b"B"]])
        claims = [*map(Claim, idents(ROWS_PER_SCRIPT + 1))]
        outcomes = store.acquire(SPACE, claims, TOKEN, run=RUN, lease_ms=1, epoch_ms=1)
        assert outcomes == [Own(b"nonce")] * ROWS_PER_SCRIPT + [Bypass()]
        assert [command[2] for command in pool.sent[0]] == [1 + 2 * ROWS_PER_SCRIPT, 3]

    def test_a_fill_of_many_rows(self) -> None:
        store, pool = make_store([[1] * ROWS_PER_SCRIPT, [0]])
        fillings = [Filling(ident, b"nonce", b"N", 1, 1) for ident in idents(ROWS_PER_SCRIPT + 1)]
        assert store.fill(SPACE, fillings, TOKEN, epoch_ms=1) == [True] * ROWS_PER_SCRIPT + [False]
        assert len(pool.sent) == 1

    def test_the_intents_of_a_whole_transaction(self) -> None:
        writes = Writes()
        writes.add_rows(SPACE, idents(ROWS_PER_SCRIPT * 2))
        writes.add_model(OTHER)
        store, pool = make_store([ROWS_PER_SCRIPT, ROWS_PER_SCRIPT, 1])
        store.place_intents(writes, TOKEN, intent_ms=1)
        (sent,) = pool.sent
        assert [command[1] for command in sent] == [scripts.INTENT.sha, scripts.INTENT.sha, scripts.INTENT_ALL.sha]
        assert sent[-1] == ("EVALSHA", scripts.INTENT_ALL.sha, 1, OTHER.epoch, TOKEN, 1)

    def test_every_key_of_a_script_shares_a_slot(self) -> None:
        """One hash tag per model and database: else a cluster refuses the script."""
        writes = Writes()
        writes.add_rows(SPACE, idents(150))
        writes.add_rows(OTHER, idents(3))
        store, pool = make_store([0, 0, 0])
        store.release(writes, TOKEN)
        for command in pool.sent[0]:
            assert len({key.split("}")[0] for key in command[3 : 3 + command[2]]}) == 1


class TestReplies:
    @pytest.mark.parametrize(
        ("reply", "outcome"),
        [
            pytest.param(b"Ononce", Own(b"nonce"), id="own"),
            pytest.param(b"Wlease", Wait(b"lease"), id="wait"),
            pytest.param(b"Ventry", Value(b"entry"), id="value"),
            pytest.param(b"B", Bypass(), id="bypass"),
        ],
    )
    def test_to_acquire(self, reply: bytes, outcome: object) -> None:
        store, _ = make_store([[reply]])
        assert store.acquire(SPACE, [Claim("1")], TOKEN, run=RUN, lease_ms=1, epoch_ms=1) == [outcome]

    def test_only_what_was_refused_is_sent_by_its_text(self) -> None:
        writes = Writes()
        writes.add_rows(SPACE, ["1"])
        writes.add_model(OTHER)
        store, pool = make_store([NoScriptError("NOSCRIPT"), 0], [1])
        assert store.release(writes, TOKEN) == 1
        assert pool.sent[1] == [("EVAL", scripts.RELEASE.text, *pool.sent[0][0][2:])]

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param([ResponseError("OOM")], id="reply-is-an-error"),
            pytest.param(RedisConnectionError("gone"), id="connection-lost"),
            pytest.param(RedisClusterException("no slots"), id="cluster"),
            pytest.param(OSError("no route"), id="network"),
        ],
    )
    def test_that_are_failures_are_one_error(self, answer: list[Any] | Exception) -> None:
        """Callers know one way in which the store can fail, and its cause."""
        store, _ = make_store(answer)
        with pytest.raises(StoreUnavailableError) as caught:
            store.flush([SPACE])
        assert isinstance(caught.value.__cause__, Exception)

    def test_one_error_among_good_replies_is_an_error(self) -> None:
        store, _ = make_store([1, ResponseError("READONLY")])
        with pytest.raises(StoreUnavailableError):
            store.flush([SPACE, OTHER])

    def test_other_exceptions_pass(self) -> None:
        """A bug is no outage."""
        store, _ = make_store(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            store.probe()


class TestScripts:
    @pytest.mark.parametrize("script", scripts.ALL_SCRIPTS, ids=lambda script: script.name)
    def test_say_what_they_take_and_give(self, script: scripts.Script) -> None:
        own_part = script.text.split("-- ")
        for word in ("KEYS ", "Returns", "Ends:"):
            assert any(line.startswith(word) for line in own_part), (
                f"{script.name}.lua does not tell its {word.strip()}"
            )

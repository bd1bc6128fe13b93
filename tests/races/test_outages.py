"""The server stops, comes back, hangs, or one process loses it: each outage with its mutant, as the races."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest
from django.conf import settings
from django.db import connections, transaction
from django.dispatch import Signal
from django.test import override_settings

from django_cacheaside.clock import SystemClock
from django_cacheaside.engine.breaker import RETRY_S, State
from django_cacheaside.engine.tally import Event
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from django_cacheaside.signals import circuit_closed, circuit_opened
from django_cacheaside.store.envelope import Found
from django_cacheaside.store.writes import Writes
from example_project.embedded import EmbeddedValkey
from tests.app.models import Product
from tests.races import mutants
from tests.races.play import Mutant, bump, elsewhere, everybody_sees, found, make, server, version, warm
from tests.races.stage import Stage
from tests.unwell import hung, kill

Outage = Callable[[Stage, EmbeddedValkey], None]

LONG_S = 2.0
"""Longer than a circuit waits for anything, in seconds."""


class HandClock(SystemClock):
    """Goes on by hand, so that nobody has to wait for the next probe."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s

    def probe(self) -> bool:
        """Until the next probe is due, which is made. Returns whether hits are served behind it."""
        self.ahead_s += LONG_S
        return runtime.current().breaker.lets_through()

    def get_back(self) -> None:
        """The server answers: until the circuit is closed."""
        assert not self.probe(), "the first probe that is good begins to settle"
        assert runtime.current().breaker.state is State.SETTLING
        assert self.probe()


@pytest.fixture
def valkey(fresh_valkey: EmbeddedValkey) -> Iterator[EmbeddedValkey]:
    """The server behind the cache alias, to be stopped."""
    with on(fresh_valkey.url):
        yield fresh_valkey


@contextmanager
def on(url: str) -> Iterator[None]:
    """The cache alias at another address."""
    caches = {**settings.CACHES, "default": {**settings.CACHES["default"], "LOCATION": url}}
    with override_settings(CACHES=caches):
        yield


def hand_clock() -> HandClock:
    """This process's circuit, and its looks at what others announce, by a clock that goes on by hand."""
    clock = HandClock()
    current = runtime.current()
    current.invalidator.breaker._clock = clock
    current.fetcher._now_s = clock.monotonic_s
    for agreement in current.agreements.all():
        agreement._clock = clock
    return clock


def drop_intents(pk: int) -> None:
    """What was sent to a server that hung has arrived. Many a network would have lost it."""
    place = runtime.current().place(registry.for_model(Product), connections["default"])
    server().delete(place.space.entry(str(pk)))
    assert found(pk) is Found.MISS


def in_atomic(pk: int) -> None:
    with transaction.atomic():
        bump(pk)


def stopped_before_a_commit(stage: Stage, valkey: EmbeddedValkey) -> None:
    """The COMMIT goes on, this process reads the database; the next server is used once the debt is paid."""
    pk = make()
    warm(stage, pk)
    clock = hand_clock()
    breaker = runtime.current().invalidator.breaker
    kill(valkey)
    stage.run(lambda: in_atomic(pk))
    assert breaker.is_open
    everybody_sees(stage, pk, 1)
    valkey.restart()
    everybody_sees(stage, pk, 1)
    assert breaker.state is State.OPEN, "until the next probe is due"
    clock.get_back()
    everybody_sees(stage, pk, 1)
    assert found(pk) is Found.HIT


def stopped_between_intent_and_release(stage: Stage, valkey: EmbeddedValkey) -> None:
    """The server dies with the intent, its successor has never heard of it."""
    pk = make()
    warm(stage, pk)
    clock = hand_clock()
    writer = stage.act(lambda: in_atomic(pk), hold_at=["before-commit"])
    valkey.restart()
    with elsewhere() as other:
        assert stage.run(lambda: other.version(pk)) == 0
        writer.finish()
        clock.ahead_s += LONG_S
        everybody_sees(stage, pk, 1)
        assert stage.run(lambda: other.version(pk)) == 1


def restarted_from_an_old_snapshot(stage: Stage, valkey: EmbeddedValkey) -> None:
    """Values come back from the dead, with their epoch: the server's new run id makes them nobody's."""
    pk = make()
    warm(stage, pk)
    server().save()
    stage.run(lambda: in_atomic(pk))
    everybody_sees(stage, pk, 1)
    clock = hand_clock()
    valkey.restart(keep_dump=True)
    everybody_sees(stage, pk, 1)
    clock.get_back()
    everybody_sees(stage, pk, 1)


def hung_while_one_process_writes(stage: Stage, valkey: EmbeddedValkey) -> None:
    """One time-out for all: then the circuit is open, nobody waits, and the debt is paid when the server is back."""
    pk = make()
    with elsewhere() as other:
        assert [stage.run(lambda: other.version(pk)) for _ in range(2)] == [0, 0]
        assert found(pk) is Found.HIT
        clock = hand_clock()
        with hung(valkey):
            began_s = monotonic()
            stage.run(lambda: in_atomic(pk))
            assert stage.run(lambda: [version(pk) for _ in range(20)]) == [1] * 20
            assert monotonic() - began_s < 1.0
        clock.probe()
        everybody_sees(stage, pk, 1)
        assert stage.run(lambda: other.version(pk)) == 1


def unreachable_for_the_writer_only(stage: Stage, valkey: EmbeddedValkey) -> None:
    """The others' entries outlive it: they may serve the old row until the writer has moved the epoch, then no more."""
    pk = make()
    with elsewhere() as other:
        assert [stage.run(lambda: other.version(pk)) for _ in range(2)] == [0, 0]
        clock = hand_clock()
        pool = runtime.current().store._pool
        pool.close()
        reachable, pool._arguments = pool._arguments, {**pool._arguments, "path": "/nowhere"}
        stage.run(lambda: in_atomic(pk))
        everybody_sees(stage, pk, 1)
        pool._arguments = reachable
        clock.probe()
        everybody_sees(stage, pk, 1)
        assert stage.run(lambda: other.version(pk)) == 1


OUTAGES: list[tuple[Outage, Mutant]] = [
    (stopped_before_a_commit, mutants.lost_announcements_forgotten),
    (stopped_between_intent_and_release, mutants.release_only_own),
    (restarted_from_an_old_snapshot, mutants.runs_unread),
    (hung_while_one_process_writes, mutants.circuit_never_opens),
    (unreachable_for_the_writer_only, mutants.debts_forgiven),
]


@pytest.mark.parametrize("outage", [pytest.param(one, id=one.__name__) for one, _ in OUTAGES])
def test_nobody_reads_an_old_row(outage: Outage, stage: Stage, valkey: EmbeddedValkey) -> None:
    outage(stage, valkey)


@pytest.mark.parametrize(
    ("outage", "mutant"),
    [pytest.param(one, mutant, id=f"{one.__name__}-{mutant.__name__}") for one, mutant in OUTAGES],  # type: ignore[attr-defined]
)
def test_the_guard_is_what_wins_it(outage: Outage, mutant: Mutant, stage: Stage, valkey: EmbeddedValkey) -> None:
    with mutant(), pytest.raises(AssertionError):
        outage(stage, valkey)


def test_an_outage_is_one_line_in_the_log(
    stage: Stage, valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    """And its end another one, however many requests there were."""
    pk = make()
    clock = hand_clock()
    kill(valkey)
    for _ in range(3):
        everybody_sees(stage, pk, 0)
    valkey.restart()
    clock.get_back()
    for _ in range(3):
        everybody_sees(stage, pk, 0)
    said = [(record.levelno, record.message) for record in caplog.records if record.name == "django_cacheaside"]
    assert [level for level, _ in said] == [logging.ERROR, logging.WARNING]
    assert "reads go to the database" in said[0][1]
    assert "answers again" in said[1][1]


def test_the_project_hears_of_an_outage(stage: Stage, valkey: EmbeddedValkey) -> None:
    """Once of each change, and a receiver that raises breaks nothing: here neither a commit nor a read."""
    heard: list[dict[str, Any]] = []

    def hear(sender: object, signal: Signal, **said: Any) -> None:
        heard.append(said)
        raise LookupError("a receiver's own fault")

    pk = make()
    warm(stage, pk)
    clock = hand_clock()
    circuit_opened.connect(hear)
    circuit_closed.connect(hear)
    try:
        kill(valkey)
        for _ in range(2):
            stage.run(lambda: in_atomic(pk))
        valkey.restart()
        clock.get_back()
    finally:
        circuit_opened.disconnect(hear)
        circuit_closed.disconnect(hear)
    opened, closed = heard
    assert "ConnectionError" in opened["reason"]
    assert closed["open_s"] > LONG_S
    everybody_sees(stage, pk, 2)


def test_unannounced_writes_of_a_model_are_one_line_an_outage(
    stage: Stage, valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    """However many writes there are; and one again in the next outage."""
    pk = make()
    clock = hand_clock()
    for outage in (1, 2):
        kill(valkey)
        for _ in range(3):
            stage.run(lambda: bump(pk))
        valkey.restart()
        clock.get_back()
        everybody_sees(stage, pk, 3 * outage)
    lines = [record.message for record in caplog.records if "without the cache server knowing" in record.message]
    assert len(lines) == 2
    assert all("app.product" in line for line in lines)


def test_an_outage_shorter_than_anybody_notices(stage: Stage, valkey: EmbeddedValkey) -> None:
    """A server that is restarted between two requests has forgotten what others may still owe it: settle all the same.

    Commits are announced meanwhile.
    """
    pk = make()
    warm(stage, pk)
    clock = hand_clock()
    valkey.restart()
    everybody_sees(stage, pk, 0)
    assert "restarted" in runtime.current().breaker.last_reason
    clock.probe()
    lost = runtime.current().invalidator.tally.counts[Event.LOST_INVALIDATION]
    stage.run(lambda: in_atomic(pk))
    assert runtime.current().invalidator.tally.counts[Event.LOST_INVALIDATION] == lost
    assert clock.probe()
    everybody_sees(stage, pk, 1)
    assert found(pk) is Found.HIT


def test_a_first_connection_is_no_restart(stage: Stage, valkey: EmbeddedValkey) -> None:
    pk = make()
    warm(stage, pk)
    with elsewhere() as other:
        assert stage.run(lambda: other.version(pk)) == 0
        assert not other.runtime.breaker.is_open


class TestBackForAll:
    """The server hung and goes on with what it held; a writer that found it away has not tried it again yet."""

    def test_who_has_noticed_serves_nothing_until_the_others_have(self, stage: Stage, valkey: EmbeddedValkey) -> None:
        pk, before = make(), make()
        with elsewhere() as other:
            for one in (pk, before):
                assert [stage.run(lambda one=one: other.version(one)) for _ in range(2)] == [0, 0]  # type: ignore[misc]
            breaker, clock = runtime.current().breaker, hand_clock()
            other.runtime.breaker._clock = clock
            with hung(valkey):
                stage.run(lambda: in_atomic(before))
                assert stage.run(lambda: other.version(before)) == 1
            clock.ahead_s += LONG_S
            breaker._probe_at_s = clock.monotonic_s() + RETRY_S
            assert stage.run(lambda: other.version(before)) == 1
            assert other.runtime.breaker.state is State.SETTLING
            stage.run(lambda: in_atomic(pk))
            assert found(pk) is Found.HIT, "of what the server held"
            assert stage.run(lambda: other.version(pk)) == 1
            clock.ahead_s += RETRY_S
            assert not breaker.lets_through()
            assert stage.run(lambda: other.version(pk)) == 1
            clock.ahead_s += LONG_S
            assert stage.run(lambda: other.version(pk)) == 1
            assert not other.runtime.breaker.is_open

    def test_a_commit_that_began_before_is_announced_late(self, stage: Stage, valkey: EmbeddedValkey) -> None:
        """It is under way for longer than the others wait."""
        pk = make()
        with elsewhere() as other:
            assert [stage.run(lambda: other.version(pk)) for _ in range(2)] == [0, 0]
            clock = hand_clock()
            other.runtime.breaker._clock = clock
            with hung(valkey):
                writer = stage.act(lambda: in_atomic(pk), hold_at=["before-commit"])
                assert stage.run(lambda: other.version(pk)) == 0
            drop_intents(pk)
            clock.get_back()
            other.runtime.breaker.lets_through()
            clock.ahead_s += LONG_S
            assert other.runtime.breaker.lets_through()
            assert found(pk) is Found.BYPASS
            assert stage.run(lambda: other.version(pk)) == 0
            writer.finish()
            assert [stage.run(lambda: other.version(pk)) for _ in range(2)] == [1, 1]
            assert found(pk) is Found.HIT
        assert runtime.current().invalidator.owes() == []

    @pytest.mark.parametrize("is_committed", [True, False], ids=["committed", "rolled-back"])
    def test_a_commit_that_ends_while_it_is_announced_late(
        self, stage: Stage, valkey: EmbeddedValkey, is_committed: bool
    ) -> None:
        """The late intents are nobody's: they are released, and the row is served again."""
        pk = make()
        warm(stage, pk)
        clock = hand_clock()
        raising: dict[str, BaseException] = {} if is_committed else {"before-commit": KeyboardInterrupt()}
        with hung(valkey):
            writer = stage.begin(lambda: in_atomic(pk), hold_at=["before-journal"], raising=raising).wait_held()
        drop_intents(pk)
        clock.ahead_s += LONG_S
        prober = stage.act(runtime.current().breaker.lets_through, hold_at=["late-intent"])
        assert found(pk) is Found.BYPASS
        if is_committed:
            writer.finish()
        else:
            with pytest.raises(KeyboardInterrupt):
                writer.finish()
        prober.finish()
        assert runtime.current().breaker.state is State.SETTLING
        assert found(pk) is Found.MISS
        clock.ahead_s += LONG_S
        assert runtime.current().breaker.lets_through()
        everybody_sees(stage, pk, int(is_committed))
        assert found(pk) is Found.HIT

    def test_a_commit_that_begins_as_the_server_is_reached_is_announced(
        self, stage: Stage, valkey: EmbeddedValkey
    ) -> None:
        """It found the circuit open; who reached the server did not find it."""
        pk = make()
        warm(stage, pk)
        clock = hand_clock()
        runtime.current().breaker.open("a test says so")
        writer = stage.act(lambda: in_atomic(pk), hold_at=["before-unannounced", "before-commit"])
        clock.probe()
        writer.go_on()
        writer.wait_held()
        assert found(pk) is Found.BYPASS
        writer.finish()
        assert runtime.current().invalidator.owes() == []
        assert runtime.current().invalidator.tally.counts[Event.LOST_INVALIDATION] == 0

    def test_a_commit_that_fails_to_announce_itself_is_found_by_the_next_probe(
        self, stage: Stage, valkey: EmbeddedValkey
    ) -> None:
        """However soon that is: here before anybody hears that the circuit is open."""
        pk = make()
        clock = hand_clock()

        def get_back(**said: object) -> None:
            clock.get_back()

        with elsewhere() as other:
            assert [stage.run(lambda: other.version(pk)) for _ in range(2)] == [0, 0]
            circuit_opened.connect(get_back)
            try:
                stage.run(lambda: in_atomic(pk), before_intent=StoreUnavailableError("a test says so"))
            finally:
                circuit_opened.disconnect(get_back)
            assert not runtime.current().breaker.is_open
            assert stage.run(lambda: other.version(pk)) == 1

    def test_a_ticket_that_is_given_back_after_it_was_announced_late(
        self, stage: Stage, valkey: EmbeddedValkey
    ) -> None:
        """An autocommit statement takes another one for its transaction, and leaves no intent behind."""
        pk = make()
        warm(stage, pk)
        clock = hand_clock()
        current = runtime.current()
        current.breaker.open("a test says so")
        written = Writes()
        written.add_rows(current.place(registry.for_model(Product), connections["default"]).space, [str(pk)])
        ticket = current.invalidator.before(written)
        assert not ticket.is_placed
        clock.probe()
        assert ticket.is_placed
        assert found(pk) is Found.BYPASS
        current.invalidator.forget(ticket)
        assert found(pk) is Found.MISS

    def test_a_commit_of_unknown_outcome_keeps_its_late_intents(self, stage: Stage, valkey: EmbeddedValkey) -> None:
        """It may happen yet: they run out by themselves."""
        pk = make()
        warm(stage, pk)
        clock = hand_clock()
        current = runtime.current()
        current.breaker.open("a test says so")
        written = Writes()
        written.add_rows(current.place(registry.for_model(Product), connections["default"]).space, [str(pk)])
        ticket = current.invalidator.before(written)
        prober = stage.act(clock.probe, hold_at=["late-intent"])
        current.invalidator.unknown(ticket)
        prober.finish()
        assert found(pk) is Found.BYPASS
        clock.probe()
        assert current.breaker.is_open, "until its debt is due"

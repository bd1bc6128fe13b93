"""The server stops, comes back, hangs, or one process loses it: each outage with its mutant, as the races."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from django.conf import settings
from django.db import transaction
from django.test import override_settings

from django_cacheaside.clock import SystemClock
from django_cacheaside.orm import runtime
from django_cacheaside.store.envelope import Found
from example_project.embedded import EmbeddedValkey
from tests.races import mutants
from tests.races.play import Mutant, bump, elsewhere, everybody_sees, found, make, server, version, warm
from tests.races.stage import Stage

Outage = Callable[[Stage, EmbeddedValkey], None]


class HandClock(SystemClock):
    """Goes on by hand, so that nobody has to wait for the next probe."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


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


def kill(valkey: EmbeddedValkey) -> None:
    """Stop the server as a crash does."""
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)


@contextmanager
def hung(valkey: EmbeddedValkey) -> Iterator[None]:
    """It takes connections and says nothing."""
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey.pid, signal.SIGCONT)


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
    assert breaker.is_open, "until the next probe is due"
    clock.ahead_s += 2
    everybody_sees(stage, pk, 1)
    assert not breaker.is_open
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
        clock.ahead_s += 2
        everybody_sees(stage, pk, 1)
        assert stage.run(lambda: other.version(pk)) == 1


def restarted_from_an_old_snapshot(stage: Stage, valkey: EmbeddedValkey) -> None:
    """Values come back from the dead, with their epoch: the server's new run id makes them nobody's."""
    pk = make()
    warm(stage, pk)
    server().save()
    stage.run(lambda: in_atomic(pk))
    everybody_sees(stage, pk, 1)
    valkey.restart(keep_dump=True)
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
        clock.ahead_s += 2
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
        clock.ahead_s += 2
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
    clock.ahead_s += 2
    for _ in range(3):
        everybody_sees(stage, pk, 0)
    said = [(record.levelno, record.message) for record in caplog.records if record.name == "django_cacheaside"]
    assert [level for level, _ in said] == [logging.ERROR, logging.WARNING]
    assert "reads go to the database" in said[0][1]
    assert "answers again" in said[1][1]


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
        clock.ahead_s += 2
        everybody_sees(stage, pk, 3 * outage)
    lines = [record.message for record in caplog.records if "without the cache server knowing" in record.message]
    assert len(lines) == 2
    assert all("app.product" in line for line in lines)


def test_an_outage_shorter_than_anybody_notices(stage: Stage, valkey: EmbeddedValkey) -> None:
    """A server that is restarted between two requests costs a connection, not an outage."""
    pk = make()
    warm(stage, pk)
    valkey.restart()
    everybody_sees(stage, pk, 0)
    assert not runtime.current().invalidator.breaker.is_open
    assert found(pk) is Found.HIT

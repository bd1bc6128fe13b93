"""Commits that fail, are interrupted, or of which nobody knows the outcome."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from django.db import DatabaseError, IntegrityError, connection, transaction

from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.orm import runtime
from django_cacheaside.store.envelope import Found
from tests.app.models import Bay, Crate
from tests.races import mutants
from tests.races.play import Mutant, bump, everybody_sees, found, here, make, race, sql, warm
from tests.races.stage import DEADLINE_S, Actor, Stage, StageError

ABSENT = 10_000


def in_atomic(pk: int) -> None:
    with transaction.atomic():
        bump(pk)


def without_autocommit(pk: int) -> None:
    transaction.set_autocommit(False)
    bump(pk)
    transaction.commit()
    transaction.set_autocommit(True)


def raw(pk: int) -> None:
    sql("BEGIN")
    bump(pk)
    sql("COMMIT")


WRITES: dict[str, Callable[[int], None]] = {
    "atomic": in_atomic,
    "autocommit": bump,
    "manual": without_autocommit,
    "raw": raw,
}

HARMLESS = (StoreUnavailableError, RuntimeError)
INTERRUPTS = (KeyboardInterrupt, SystemExit)


def committed_in_spite(name: str, point: str, error: type[Exception]) -> None:
    @race(mutants.lost_announcements_forgotten, name=f"{name}-commits-in-spite-of-{error.__name__}-{point}")
    def scenario(stage: Stage) -> None:
        """Whatever is the matter with the cache: the write is committed, nothing leaves, this process serves no hit."""
        pk = make()
        warm(stage, pk)
        breaker = runtime.current().invalidator.breaker
        breaker._retry_s = 3600.0
        breaker._settle_s = 0.0
        stage.begin(lambda: WRITES[name](pk), raising={point: error()}).finish()
        everybody_sees(stage, pk, 1)
        assert breaker.is_open
        breaker._probe_at_s = 0.0
        everybody_sees(stage, pk, 1)  # two reads: after the first probe nothing is served yet
        assert not breaker.is_open
        everybody_sees(stage, pk, 1)
        assert found(pk) in (Found.HIT, Found.BYPASS)  # where intents stay, they run out


def interrupted(name: str, point: str, error: type[BaseException], wanted: int, mutant: Mutant) -> None:
    @race(mutant, name=f"{name}-interrupted-by-{error.__name__}-{point}")
    def scenario(stage: Stage) -> None:
        """An interrupt before COMMIT rolls back and leaves; after it, it leaves, and readers know the COMMIT."""
        pk = make()
        warm(stage, pk)
        try:
            stage.begin(lambda: WRITES[name](pk), raising={point: error()}).finish()
        except error:
            pass
        else:
            raise AssertionError("an interrupt must leave")
        everybody_sees(stage, pk, wanted)
        assert stored(pk) == wanted
        stage.run(lambda: bump(pk))
        everybody_sees(stage, pk, wanted + 1)


def stored(pk: int) -> int:
    """What the database holds."""
    ((value,),) = sql("SELECT version FROM app_product WHERE id = %s", pk)
    return int(value)


for name in WRITES:
    for error in HARMLESS:
        committed_in_spite(name, "before-intent", error)
        committed_in_spite(name, "after-commit", error)
    for interrupt in INTERRUPTS:
        interrupted(name, "before-intent", interrupt, 0, mutants.interrupts_swallowed)
        interrupted(name, "after-intent", interrupt, 0, mutants.interrupts_swallowed)
        if name != "autocommit":
            interrupted(name, "before-commit", interrupt, 0, mutants.interrupts_swallowed)
        interrupted(name, "after-commit", interrupt, 1, mutants.nothing_outlasts_an_interrupt)


@race(mutants.interrupts_swallowed)
def interrupted_between_announcement_and_commit_during_an_outage(stage: Stage) -> None:
    """Nothing was committed, so nothing is owed: the circuit closes again."""
    pk = make()
    breaker = runtime.current().invalidator.breaker
    breaker._retry_s = breaker._settle_s = 0.0
    breaker.open("a test says so")
    breaker._probe_at_s = float("inf")
    try:
        stage.run(lambda: in_atomic(pk), before_commit=KeyboardInterrupt())
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("an interrupt must leave")
    breaker._probe_at_s = 0.0
    everybody_sees(stage, pk, 0)
    assert not breaker.is_open


@race(mutants.interrupts_forgive)
def interrupted_after_an_unannounced_commit(stage: Stage) -> None:
    """The server was away at the intent and the process is interrupted before it can tell: it tells later."""
    pk = make()
    warm(stage, pk)
    breaker = runtime.current().invalidator.breaker
    breaker._retry_s = breaker._settle_s = 0.0
    breaker.open("a test says so")
    breaker._probe_at_s = float("inf")
    try:
        stage.run(lambda: in_atomic(pk), after_commit=KeyboardInterrupt())
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("an interrupt must leave")
    breaker._probe_at_s = 0.0
    everybody_sees(stage, pk, 1)
    assert not breaker.is_open


def deferred(name: str, write: Callable[[int], None]) -> None:
    @race(mutants.failed_commits_unsettled, name=f"commit-that-surely-fails-{name}")
    def scenario(stage: Stage) -> None:
        """A deferred constraint refuses the COMMIT: the intents are released at once, and hits go on."""
        pk = make(model=Crate, bay=Bay.objects.create())
        warm(stage, pk, model=Crate)
        try:
            stage.run(lambda: write(pk))
        except IntegrityError:
            pass
        else:
            raise RuntimeError("the constraint was to refuse")
        everybody_sees(stage, pk, 0, model=Crate)
        assert found(pk, model=Crate) is Found.HIT


def break_the_constraint(pk: int) -> None:
    Crate.objects.filter(pk=pk).update(version=7, bay_id=ABSENT)


def atomic_that_fails(pk: int) -> None:
    with transaction.atomic():
        break_the_constraint(pk)


def manual_that_fails(pk: int) -> None:
    transaction.set_autocommit(False)
    break_the_constraint(pk)
    try:
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def raw_that_fails(pk: int) -> None:
    sql("BEGIN")
    break_the_constraint(pk)
    sql("COMMIT")


for name, failing in {
    "atomic": atomic_that_fails,
    "autocommit": break_the_constraint,
    "manual": manual_that_fails,
    "raw": raw_that_fails,
}.items():
    deferred(name, failing)


def ends_in_a_lost_connection(writer: Actor[None]) -> None:
    """The writer's error must be the database's own."""
    try:
        writer.finish()
    except DatabaseError:
        return
    raise RuntimeError("the connection was to be lost")


@race(mutants.unknown_commits_released)
def connection_lost_before_commit(stage: Stage) -> None:
    """The writer can't know whether its COMMIT happened: its intents stay, readers read the database."""
    pk = make()
    warm(stage, pk)
    backend: list[int] = []

    def write() -> None:
        with transaction.atomic():
            bump(pk)
            backend.append(connection.connection.info.backend_pid)

    writer = stage.act(write, hold_at=["before-commit"])
    sql("SELECT pg_terminate_backend(%s, 5000)", backend[0])
    ends_in_a_lost_connection(writer)
    everybody_sees(stage, pk, 0)
    assert found(pk) is Found.BYPASS


@race(mutants.unknown_commits_released)
def connection_lost_while_commit_goes_on(stage: Stage) -> None:
    """The client hears that its connection is lost; the server commits all the same, and later."""
    pk = make()
    warm(stage, pk)
    sql(
        "CREATE OR REPLACE FUNCTION races_wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END'"
    )
    sql(
        "CREATE CONSTRAINT TRIGGER races AFTER UPDATE ON app_product DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION races_wait()"
    )
    backend: list[int] = []
    plugs: list[int] = []

    def write() -> None:
        with transaction.atomic():
            bump(pk)
            raw_connection = connection.connection
            backend.append(raw_connection.info.backend_pid)
            plugs.append(os.dup(raw_connection.fileno()))

    def hold_the_commit() -> None:
        with transaction.atomic():
            sql("SELECT pg_advisory_xact_lock(4711)")
            here("locked")

    try:
        holder = stage.act(hold_the_commit, hold_at=["locked"])
        writer = stage.act(write, hold_at=["before-commit"])
        writer.go_on()
        wait_until_waiting(backend[0])
        with socket.socket(fileno=plugs[0]) as plug:
            plug.shutdown(socket.SHUT_RDWR)
        ends_in_a_lost_connection(writer)
        everybody_sees(stage, pk, 0)
        holder.finish()
        wait_until_gone(backend[0])
        everybody_sees(stage, pk, 1)
    finally:
        stage.clear()
        sql("DROP TRIGGER races ON app_product")
        sql("DROP FUNCTION races_wait")


def wait_until_waiting(pid: int) -> None:
    """Until the server process stands at a lock."""
    poll("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", pid, wanted=1)


def wait_until_gone(pid: int) -> None:
    """Until the server process has ended."""
    poll("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid, wanted=0)


def poll(query: str, pid: int, *, wanted: int) -> None:
    """PostgreSQL can't be held at a failpoint: ask until it is there."""
    from time import monotonic

    deadline = monotonic() + DEADLINE_S
    while len(sql(query, pid)) != wanted:
        if monotonic() > deadline:
            raise StageError(f"PostgreSQL never came to {wanted} rows of {query}")

"""Readers of one process that share a load: flight.py's counterexamples, forced."""

from __future__ import annotations

from django.db import DatabaseError, connection, transaction

from django_cacheaside.store.envelope import Found
from tests.app.models import Product
from tests.races import mutants
from tests.races.play import (
    bump,
    bump_all,
    everybody_sees,
    found,
    here,
    is_leased,
    make,
    outage,
    race,
    sql,
    version,
    versions,
    warm,
)
from tests.races.stage import Actor, Stage

MANY = 5


@race(mutants.share_refused)
def joining_a_load_whose_fill_is_refused(stage: Stage) -> None:
    """flight.py's "naive": the SELECT ran before the COMMIT, the joiner began after it."""
    pk = make()
    owner = stage.act(lambda: version(pk), hold_at=["after-load"])
    stage.run(lambda: bump(pk))
    joiner = stage.act(lambda: version(pk), hold_at=["before-join"])
    assert owner.finish() == 0
    assert joiner.finish() == 1
    everybody_sees(stage, pk, 1)


@race(mutants.fill_under_dead_epoch_counts)
def joining_a_load_whose_epoch_is_gone(stage: Stage) -> None:
    """The writer took the whole model: the lease is still the owner's, but what it fills is nobody's."""
    pk = make()
    owner = stage.act(lambda: version(pk), hold_at=["after-load"])
    stage.run(bump_all)
    joiner = stage.act(lambda: version(pk), hold_at=["before-join"])
    assert owner.finish() == 0
    assert joiner.finish() == 1
    everybody_sees(stage, pk, 1)


@race(mutants.share_refused)
def joining_a_load_of_nothing(stage: Stage) -> None:
    """The same for a row that was missing when the owner looked."""
    owner = stage.act(lambda: version(10_000), hold_at=["after-load"])
    stage.run(lambda: Product.objects.create(pk=10_000, version=1))
    joiner = stage.act(lambda: version(10_000), hold_at=["before-join"])
    assert owner.finish() is None
    assert joiner.finish() == 1


@race(mutants.open_while_filling)
def joining_after_the_fill(stage: Stage) -> None:
    """flight.py's "accepted": the fill was accepted, then a writer passed, then the joiner began."""
    pk = make()
    owner = stage.act(lambda: version(pk), hold_at=["after-fill"])
    stage.run(lambda: bump(pk))
    late = stage.begin(lambda: version(pk), hold_at=["before-join"])
    late.is_held()
    assert owner.finish() == 0
    assert late.finish() == 1
    everybody_sees(stage, pk, 1)


def joiners(stage: Stage, pk: int) -> list[Actor[int | None]]:
    """Readers that come while another one loads; where there is nothing to join they go their own way."""
    actors = [stage.begin(lambda: version(pk), hold_at=["before-join"]) for _ in range(MANY)]
    for actor in actors:
        actor.is_held()
    return actors


def outcomes(actors: list[Actor[int | None]]) -> list[object]:
    """What each of them ends with. All are let go at once: which of them loads for the others is not said."""
    for actor in actors:
        actor.let_go()
    return [outcome(actor) for actor in actors]


def outcome(actor: Actor[int | None]) -> object:
    try:
        return actor.finish()
    except DatabaseError:
        return DatabaseError


@race(mutants.no_flights)
def many_share_one_load(stage: Stage) -> None:
    """One SELECT for all who came before it was filled."""
    pk = make()
    owner = stage.act(lambda: version(pk), hold_at=["before-load"])
    others = joiners(stage, pk)
    assert owner.finish() == 0
    assert outcomes(others) == [0] * MANY
    assert sum(actor.selects for actor in [owner, *others]) == 1
    assert found(pk) is Found.HIT


@race(mutants.no_flights)
def batches_that_overlap_share_what_they_have_in_common(stage: Stage) -> None:
    """Each row is loaded once, and nobody waits in a circle."""
    a, b, c = make(), make(), make()
    shared_before = shared_loads()
    first = stage.act(lambda: versions(a, b), hold_at=["before-load", "before-join"])
    second = stage.begin(lambda: versions(b, c), hold_at=["before-load"])
    second.is_held()
    first.go_on()
    second.go_on()
    assert first.finish() == second.finish() == [0, 0]
    assert [found(pk) for pk in (a, b, c)] == [Found.HIT] * 3
    assert (first.selects, second.selects) == (1, 1)
    assert shared_loads() - shared_before == 1


def shared_loads() -> int:
    """How often a reader of this process took another one's load, ever."""
    from django_cacheaside.engine.tally import Event
    from django_cacheaside.orm.registry import registry

    return registry.for_model(Product).tally.counts[Event.SHARED]


def broken_load(pk: int) -> int | None:
    def refuse(execute: object, *_: object) -> None:
        raise DatabaseError("no")

    with connection.execute_wrapper(refuse):
        return version(pk)


@race(mutants.never_abandon, mutants.no_errors_shared)
def load_that_fails(stage: Stage) -> None:
    """It fails once, for all who joined it; its lease is given up, and the next reader loads."""
    pk = make()
    owner = stage.act(lambda: broken_load(pk), hold_at=["before-load"])
    others = joiners(stage, pk)
    assert outcome(owner) is DatabaseError
    assert outcomes(others) == [DatabaseError] * MANY
    assert sum(other.selects for other in others) == 0
    assert not is_leased(pk)
    everybody_sees(stage, pk, 0)
    assert found(pk) is Found.HIT


@race(mutants.all_errors_shared)
def load_that_fails_in_its_own_transaction(stage: Stage) -> None:
    """Whose transaction can't read any more is its own affair: those who joined load themselves."""
    pk = make()

    def broken() -> int | None:
        with transaction.atomic():
            return broken_load(pk)

    owner = stage.act(broken, hold_at=["before-load"])
    others = joiners(stage, pk)
    assert outcome(owner) is DatabaseError
    assert outcomes(others) == [0] * MANY
    assert not is_leased(pk)
    everybody_sees(stage, pk, 0)


def past_the_cache(stage: Stage, pk: int) -> None:
    """One load is under way when a writer passes; all who come after it share the next one."""
    running = stage.act(lambda: version(pk), hold_at=["after-bypass"])
    writer = stage.act(lambda: bump(pk), hold_at=["after-commit"])
    others = joiners(stage, pk)
    assert running.finish() in (0, None)
    assert outcomes(others) == [1] * MANY
    assert running.selects + sum(other.selects for other in others) == 2
    writer.finish()


@race(mutants.join_running, mutants.no_queue)
def bypasses_share_the_next_load(stage: Stage) -> None:
    """Without a lease: join only a flight whose SELECT is not yet sent. Here a COMMIT is open, and then another one."""
    pk = make()

    blocker = stage.act(lambda: open_commit(pk), hold_at=["before-commit"])
    running = stage.act(lambda: version(pk), hold_at=["after-bypass"])
    blocker.go_on()
    blocker.finish()
    writer = stage.act(lambda: bump(pk), hold_at=["after-commit"])
    others = joiners(stage, pk)
    assert running.finish() == 0
    assert outcomes(others) == [2] * MANY
    assert running.selects + sum(other.selects for other in others) == 2
    writer.finish()
    everybody_sees(stage, pk, 2)


def open_commit(pk: int) -> None:
    """A transaction that raises the row's version."""
    with transaction.atomic():
        bump(pk)


@race(mutants.join_running, mutants.no_queue)
def an_outage_shares_the_next_load(stage: Stage) -> None:
    """The same while the circuit is open: the database gets one load at a time for a row, and nobody an old one."""
    pk = make()
    warm(stage, pk)
    with outage():
        past_the_cache(stage, pk)
        everybody_sees(stage, pk, 1)


def table_lock(name: str, statement: str) -> None:
    @race(mutants.locks_wait, name=f"nobody-waits-behind-its-own-{name}")
    def scenario(stage: Stage) -> None:
        """A reader's SELECT stands at the lock of a transaction, which then reads the same row: it must not join it."""
        pk = make()
        backend: list[int] = []

        def lock_and_read() -> int | None:
            with transaction.atomic():
                backend.append(connection.connection.info.backend_pid)
                sql(statement)
                here("locked")
                return version(pk)

        locker = stage.act(lock_and_read, hold_at=["locked"])
        reader = stage.act(lambda: version(pk), hold_at=["before-load"])
        reader.go_on()
        does_end = locker.ends_within(1.0)
        if not does_end:
            sql("SELECT pg_terminate_backend(%s, 5000)", backend[0])
        assert does_end, "it waits for a reader that waits for it"
        assert locker.finish() == reader.finish() == 0


table_lock("table-lock", "LOCK TABLE app_product IN ACCESS EXCLUSIVE MODE")
table_lock("reindex", "REINDEX TABLE app_product")

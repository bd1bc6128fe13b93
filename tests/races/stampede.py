"""Many who want one row: who waits for whom, what becomes of those whose owner could share nothing, who takes over."""

from __future__ import annotations

from contextlib import ExitStack, suppress

from django.db import DatabaseError, DataError, connection
from django.test import override_settings

from django_cacheaside.exceptions import CacheAsideOverloaded
from tests.races import mutants
from tests.races.play import bump, elsewhere, everybody_sees, make, outage, race, version, versions
from tests.races.stage import Actor, Stage

MANY = 5


@race(mutants.nobody_looks_again)
def joining_a_load_that_another_process_makes(stage: Stage) -> None:
    """Their owner takes what that one filled and may not hand it on: it is older than they, perhaps. They look."""
    pk = make()
    with override_settings(CACHEASIDE={"CACHE": "default", "WAIT": 10}), elsewhere() as other:
        loading = stage.act(lambda: other.version(pk), hold_at=["before-fill"])
        owner = stage.act(lambda: version(pk), hold_at=["before-acquire", "before-acquire"])
        others = [stage.act(lambda: version(pk), hold_at=["before-join"]) for _ in range(MANY)]
        owner.go_on()
        owner.wait_held()
        assert loading.finish() == 0
        assert owner.finish() == 0
        assert [one.finish() for one in others] == [0] * MANY
        assert sum(one.selects for one in (owner, *others)) == 0
        assert loading.selects == 1


@race(mutants.take_over_whoever_it_is)
def many_wait_for_a_dead_reader(stage: Stage) -> None:
    """One takes its lease over. Whose patience ends a moment later sees that it has changed hands, and waits on."""
    pk = make()
    with suppress(SystemExit):
        stage.run(lambda: version(pk), before_fill=SystemExit())
    with override_settings(CACHEASIDE={"CACHE": "default", "WAIT": 0.5}), ExitStack() as stack:
        first, second = (stack.enter_context(elsewhere()) for _ in range(2))
        late = stage.act(lambda: second.version(pk), hold_at=["before-acquire"] * 4)
        late.go_on()
        late.wait_held()  # it has seen the dead reader's lease, and polls for the first time
        heir = stage.act(lambda: first.version(pk), hold_at=["before-load"])
        late.go_on()
        late.wait_held()  # its patience is over
        late.go_on()
        assert late.is_held(), "it goes on polling"
        assert late.selects == 0
        assert heir.finish() == 0
        assert late.finish() == 0
        assert (heir.selects, late.selects) == (1, 0)


def another_rows_fault(error: Exception) -> None:
    @race(mutants.all_errors_shared, name=f"a-load-that-fails-for-another-row-of-its-batch-{type(error).__name__}")
    def scenario(stage: Stage) -> None:
        """A value that can't be converted, a key that can't be sent: who wants another row of the batch loads it."""
        another_row_fails(stage, error)


another_rows_fault(ValueError("no such moment"))
another_rows_fault(DataError("no such key"))


def another_row_fails(stage: Stage, error: Exception) -> None:
    good, bad = make(), make()

    def broken_batch() -> list[int | None]:
        def refuse(execute: object, *_: object) -> None:
            raise error

        with connection.execute_wrapper(refuse):
            return versions(good, bad)

    owner = stage.act(broken_batch, hold_at=["before-load"])
    others = [stage.act(lambda: version(good), hold_at=["before-join"]) for _ in range(MANY)]
    assert outcome(owner) is error
    assert [outcome(one) for one in others] == [0] * MANY


@race(mutants.no_errors_shared)
def a_batch_that_fails_because_the_database_does(stage: Stage) -> None:
    """That is everybody's affair: it fails once for all who joined it."""
    first, second = make(), make()

    def broken_batch() -> list[int | None]:
        def refuse(execute: object, *_: object) -> None:
            raise DatabaseError("out of disk", 53100)

        with connection.execute_wrapper(refuse):
            return versions(first, second)

    owner = stage.act(broken_batch, hold_at=["before-load"])
    others = [stage.act(lambda: version(first), hold_at=["before-join"]) for _ in range(MANY)]
    told = [outcome(one) for one in (owner, *others)]
    assert [(type(one), getattr(one, "args", None)) for one in told] == [(DatabaseError, ("out of disk", 53100))] * 6
    assert sum(one.selects for one in others) == 0


@race(mutants.nobody_looks_again)
def joining_a_load_when_the_circuit_opens(stage: Stage) -> None:
    """Their owner's fill is refused, and the server is away by now: they go to the database within the limit."""
    pks = make(), make()
    limits = {"CACHE": "default", "FALLBACK_LIMIT": 1, "FALLBACK_WAIT": 0}
    with override_settings(CACHEASIDE=limits):
        owner = stage.act(lambda: versions(*pks), hold_at=["before-load"])
        others = [stage.act(lambda: versions(*pks), hold_at=["before-join", "before-bypass"]) for _ in range(MANY)]
        stage.run(lambda: bump(*pks))
        with outage():
            for one in others:
                one.go_on()
            assert owner.finish() == [1, 1]
            at_the_database = sum(one.is_held() for one in others)
            told = [outcome(one) for one in others]
        assert at_the_database == 1
        assert told.count([1, 1]) == 1
        assert sum(type(one) is CacheAsideOverloaded for one in told) == MANY - 1
    everybody_sees(stage, pks[0], 1)


def outcome(actor: Actor[object]) -> object:
    try:
        return actor.finish()
    except (DatabaseError, ValueError, CacheAsideOverloaded) as error:
        return error

"""Values served stale, and loaded again, while somebody writes."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections
from django.test import override_settings

from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.envelope import FRESH_UNTIL, Found
from tests.app.models import Product
from tests.races import mutants
from tests.races.play import (
    bump,
    bump_all,
    elsewhere,
    everybody_sees,
    found,
    is_leased,
    make,
    race,
    server,
    version,
    versions,
    warm,
)
from tests.races.stage import Stage

SETTINGS = {"CACHE": "default", "STALE": 600, "WAIT": 5}


def outlive(*pks: int) -> None:
    """The life of these rows' values is over: they say that they were fresh until 1970."""
    space = runtime.current().place(registry.for_model(Product), connections["default"]).space
    for pk in pks:
        assert found(pk) is Found.HIT
        server().setrange(space.entry(str(pk)), FRESH_UNTIL.start, bytes(8))


def refreshes() -> int:
    return registry.for_model(Product).tally.counts[Event.REFRESH]


def stale_race(*guards: Callable[..., object]) -> Callable[[Callable[[Stage, int], None]], Callable[[Stage], None]]:
    """A race over a row whose value has outlived its life."""

    def add(scenario: Callable[[Stage, int], None]) -> Callable[[Stage], None]:
        def with_row(stage: Stage) -> None:
            with override_settings(CACHEASIDE=SETTINGS):
                pk = make()
                warm(stage, pk)
                outlive(pk)
                scenario(stage, pk)

        with_row.__name__, with_row.__doc__ = scenario.__name__, scenario.__doc__
        return race(*guards, name=scenario.__name__.replace("_", "-"))(with_row)  # type: ignore[arg-type]

    return add


@stale_race(mutants.fill_ignores_lease)
def a_commit_between_the_lease_of_a_refresh_and_its_fill(stage: Stage, pk: int) -> None:
    """What was loaded is older than the COMMIT: it is refused, and nothing old is left."""
    reader = stage.act(lambda: version(pk), hold_at=["before-fill"])
    stage.run(lambda: bump(pk))
    assert reader.finish() == 0
    everybody_sees(stage, pk, 1)


@stale_race(mutants.fill_ignores_lease_and_epoch)
def a_commit_of_unknown_rows_between_the_lease_of_a_refresh_and_its_fill(stage: Stage, pk: int) -> None:
    """The lease stays the refresher's; what it fills is under an epoch that is gone."""
    other = make()
    reader = stage.act(lambda: version(pk), hold_at=["before-fill"])
    stage.run(bump_all)
    assert stage.run(lambda: version(other)) == 1
    assert reader.finish() == 0
    everybody_sees(stage, pk, 1)


@stale_race(mutants.no_invalidation)
def a_commit_while_the_old_value_is_served(stage: Stage, pk: int) -> None:
    """One loads, others are served; who comes after the COMMIT is not."""
    reader = stage.act(lambda: version(pk), hold_at=["before-load"])
    assert stage.run(lambda: version(pk)) == 0
    stage.run(lambda: bump(pk))
    assert stage.run(lambda: version(pk)) == 1
    assert stage.run(lambda: versions(pk)) == [1]
    reader.finish()
    everybody_sees(stage, pk, 1)


@stale_race(mutants.no_intents)
def a_read_between_the_commit_and_its_release(stage: Stage, pk: int) -> None:
    """The value is still under its key's epoch; only the intent says that it may be old by now."""
    reader = stage.act(lambda: version(pk), hold_at=["before-load"])
    writer = stage.act(lambda: bump(pk), hold_at=["after-commit"])
    assert stage.run(lambda: version(pk)) == 1
    writer.finish()
    reader.finish()
    everybody_sees(stage, pk, 1)


@stale_race(mutants.everybody_refreshes)
def two_readers_of_a_stale_value(stage: Stage, pk: int) -> None:
    """One loads; the other is served at once, without a lease of its own."""
    reader = stage.act(lambda: version(pk), hold_at=["before-load"])
    other = stage.begin(lambda: version(pk))
    assert other.finish() == 0
    assert other.selects == 0
    assert reader.finish() == 0
    assert reader.selects == 1


@stale_race(mutants.leases_are_everybodys)
def two_processes_that_refresh(stage: Stage, pk: int) -> None:
    """The lease is one process's; the other serves what it has, and waits for nobody."""
    with elsewhere() as other:
        reader = stage.act(lambda: version(pk), hold_at=["before-load"])
        theirs = stage.begin(lambda: other.version(pk))
        assert theirs.finish() == 0
        assert theirs.selects == 0
        assert reader.finish() == 0
        assert reader.selects == 1


@stale_race(mutants.fill_ignores_lease)
def a_refresh_and_a_miss_at_once(stage: Stage, pk: int) -> None:
    """The row is written while it is loaded again; a reader misses it, loads and fills; the refresh comes last."""
    refreshing = stage.act(lambda: version(pk), hold_at=["before-fill"])
    stage.run(lambda: bump(pk))
    assert stage.run(lambda: version(pk)) == 1
    assert found(pk) is Found.HIT
    assert refreshing.finish() == 0
    everybody_sees(stage, pk, 1)


@stale_race(mutants.fill_ignores_lease)
def a_refresh_of_a_value_that_is_gone(stage: Stage, pk: int) -> None:
    """It was dropped between look and lease: the refresh is a miss like any other, and is refused as one."""
    refreshing = stage.act(lambda: version(pk), hold_at=["before-acquire", "before-fill"])
    stage.run(lambda: bump(pk))
    refreshing.go_on()
    refreshing.wait_held()
    assert is_leased(pk)
    stage.run(lambda: bump(pk))
    refreshing.finish()
    everybody_sees(stage, pk, 2)

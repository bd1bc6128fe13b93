"""Near reads while somebody else, of this process or of another, commits."""

from __future__ import annotations

import time

import pytest
from django.db import connections, transaction

from django_cacheaside import conf
from django_cacheaside.engine.near import line, space
from django_cacheaside.engine.tally import Event
from django_cacheaside.failpoints import reach
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.writes import Writes
from tests.app.handy import Handy
from tests.races.mutants import Patch, mutant
from tests.races.play import bump, bump_all, make, race, server, version
from tests.races.stage import DEADLINE_S, Stage


@mutant
def keeps_what_was_modified(patch: Patch) -> None:
    """What comes back is kept, whatever was heard since the server was asked."""
    keep = space.NearSpace.keep

    def keep_all(self: space.NearSpace, expected: space.Expected, *said: object) -> None:
        reach("before-keep")
        now = self.expect([key.removeprefix(self.prefix) for key in expected.keys])
        keep(self, now or expected, *said)  # type: ignore[arg-type]

    patch.setattr(space.NearSpace, "keep", keep_all)


@mutant
def serves_without_a_look(patch: Patch) -> None:
    """What has arrived is left to the thread that keeps the connection."""

    def current_line(self: space.NearSpace) -> line.Line | None:
        current = self._cache.line
        if current is None or self.prefix not in current.prefixes or current.synced_s < 0:
            self._cache.wake()
            return None
        return current

    patch.setattr(space.NearSpace, "current_line", current_line)


@mutant
def ignores_who_is_at_it(patch: Patch) -> None:
    """Another thread has taken a push off the connection and not applied it yet: nothing seems to have arrived."""
    init = line.Line.__init__

    def never_busy(self: line.Line, *arguments: object) -> None:
        init(self, *arguments)  # type: ignore[arg-type]
        self.is_busy = lambda: False

    patch.setattr(line.Line, "__init__", never_busy)


@mutant
def keeps_its_own_writes(patch: Patch) -> None:
    """A write waits for the server to say it."""
    patch.setattr(runtime.current().invalidator, "_drop_near", lambda _: None)


@mutant
def keeps_what_came_near_before_its_commit(patch: Patch) -> None:
    """A write is dropped before the COMMIT only."""
    invalidator = runtime.current().invalidator
    settle = invalidator._settle

    def settle_without(*arguments: object, at: str) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(invalidator, "_drop_near", lambda _: None)
            settle(*arguments, at=at)  # type: ignore[arg-type]

    patch.setattr(invalidator, "_settle", settle_without)


def come_near(pk: int) -> None:
    """Read a row until it is served from near."""
    deadline_s = time.monotonic() + DEADLINE_S
    counts = registry.for_model(Handy).tally.counts
    before = counts[Event.NEAR_HIT]
    while counts[Event.NEAR_HIT] == before:
        if time.monotonic() > deadline_s:
            raise TimeoutError("the row does not come near")
        version(pk, model=Handy)


def seen(stage: Stage, pk: int) -> int | None:
    return stage.run(lambda: version(pk, model=Handy))


def bump_elsewhere(pk: int) -> None:
    """Another process commits: this one hears of it over the connection alone."""
    other = runtime.Runtime(conf.get_settings())
    writes = Writes()
    writes.add_rows(other.place(registry.for_model(Handy), connections["default"]).space, [str(pk)])
    ticket = other.invalidator.before(writes)
    with connections["default"].cursor() as cursor:
        cursor.cursor.execute("UPDATE app_handy SET version = version + 1 WHERE id = %s", [pk])  # past the net
    other.invalidator.committed(ticket)
    other.close()


def drop(pk: int) -> None:
    """Have the server asked for a row once more."""
    writes = Writes()
    writes.add_rows(runtime.current().place(registry.for_model(Handy), connections["default"]).space, [str(pk)])
    runtime.current().near.drop(writes)


def hold_up_the_pushes() -> None:
    """What the server tells is still on its way."""
    current = runtime.current().near.line
    assert current is not None
    current.is_silent = lambda: True


@race(serves_without_a_look)
def near_read_after_a_commit_elsewhere(stage: Stage) -> None:
    """Its push has arrived, and nobody has taken it yet."""
    pk = make(model=Handy)
    come_near(pk)
    stage.run(lambda: bump_elsewhere(pk))
    assert seen(stage, pk) == 1


@race(ignores_who_is_at_it)
def near_read_while_another_applies_what_has_arrived(stage: Stage) -> None:
    """The push is off the connection, and the old entry is still there."""
    pk = make(model=Handy)
    come_near(pk)
    stage.run(lambda: bump_elsewhere(pk))
    stage.act(lambda: version(pk, model=Handy), hold_at=["before-drop"])
    assert seen(stage, pk) == 1


@race(keeps_what_was_modified)
def near_reply_older_than_its_push(stage: Stage) -> None:
    """The server was asked before a commit elsewhere, whose push others have applied when the answer is kept."""
    pk = make(model=Handy)
    come_near(pk)
    drop(pk)
    reader = stage.act(lambda: version(pk, model=Handy), hold_at=["before-keep"])
    stage.run(lambda: bump_elsewhere(pk))
    come_near(pk)
    assert reader.finish() == 0
    assert seen(stage, pk) == 1


@race(keeps_its_own_writes)
def near_read_after_an_own_commit(stage: Stage) -> None:
    """The server's push comes later than the COMMIT."""
    pk = make(model=Handy)
    come_near(pk)
    hold_up_the_pushes()
    stage.run(lambda: bump(pk, model=Handy))
    assert seen(stage, pk) == 1


@race(keeps_its_own_writes)
def near_read_after_an_own_commit_of_the_whole_model(stage: Stage) -> None:
    """As before, by the epoch."""
    pk = make(model=Handy)
    come_near(pk)
    hold_up_the_pushes()
    stage.run(lambda: bump_all(model=Handy))
    assert seen(stage, pk) == 1


@race(keeps_its_own_writes)
def near_reply_older_than_an_own_commit(stage: Stage) -> None:
    """The server was asked before the commit, the answer is kept behind it."""
    pk = make(model=Handy)
    come_near(pk)
    drop(pk)
    reader = stage.act(lambda: version(pk, model=Handy), hold_at=["before-keep"])
    hold_up_the_pushes()
    stage.run(lambda: bump(pk, model=Handy))
    assert reader.finish() == 0
    assert seen(stage, pk) == 1


@race(keeps_what_came_near_before_its_commit)
def near_row_that_was_filled_over_a_lost_intent(stage: Stage) -> None:
    """The server evicts the intent of an open commit; a reader fills the old row, and it comes near."""
    pk = make(model=Handy)

    def write() -> None:
        with transaction.atomic():
            bump(pk, model=Handy)

    writer = stage.act(write, hold_at=["before-commit"])
    place = runtime.current().place(registry.for_model(Handy), connections["default"])
    server().delete(place.space.entry(str(pk)))
    come_near(pk)
    hold_up_the_pushes()
    writer.finish()
    assert seen(stage, pk) == 1

"""Readers that fill late, or over a commit that is open."""

from __future__ import annotations

from django.db import transaction
from django.test import override_settings

from django_cacheaside.store.envelope import Found
from tests.app.models import Product
from tests.races import mutants
from tests.races.play import (
    bump,
    elsewhere,
    everybody_sees,
    found,
    here,
    make,
    race,
    server,
    sql,
    version,
    versions,
    warm,
)
from tests.races.stage import Stage

ABSENT = 10_000


@race(mutants.fill_ignores_lease)
def late_fill(stage: Stage) -> None:
    """A reader loads the row; a writer commits and releases; the reader fills."""
    pk = make()
    reader = stage.act(lambda: version(pk), hold_at=["before-fill"])
    stage.run(lambda: bump(pk))
    assert reader.finish() == 0
    everybody_sees(stage, pk, 1)


@race(mutants.fill_ignores_lease)
def late_fill_of_a_batch(stage: Stage) -> None:
    """One row of the batch is written meanwhile: the others are filled, it is not."""
    pks = [make() for _ in range(3)]
    reader = stage.act(lambda: versions(*pks), hold_at=["before-fill"])
    stage.run(lambda: bump(pks[1]))
    assert reader.finish() == [0, 0, 0]
    assert [found(pk) for pk in pks] == [Found.HIT, Found.MISS, Found.HIT]
    assert stage.run(lambda: versions(*pks)) == [0, 1, 0]


@race(mutants.fill_ignores_lease)
def late_negative_fill(stage: Stage) -> None:
    """A reader finds no row; it is inserted; the reader stores that there is none."""
    reader = stage.act(lambda: version(ABSENT), hold_at=["before-fill"])
    stage.run(lambda: Product.objects.create(pk=ABSENT, version=1))
    assert reader.finish() is None
    everybody_sees(stage, ABSENT, 1)


@race(mutants.fill_ignores_lease)
def late_negative_fill_of_a_key_given_by_the_database(stage: Stage) -> None:
    """As before, but nobody knew the primary key before the INSERT."""
    pk = make() + 1
    reader = stage.act(lambda: version(pk), hold_at=["before-fill"])
    assert stage.run(lambda: make(1)) == pk
    assert reader.finish() is None
    everybody_sees(stage, pk, 1)


@race(mutants.no_invalidation, mutants.nobody_listens)
def read_between_update_and_commit(stage: Stage) -> None:
    """It sees the old row, which is the newest committed one, and fills it; the COMMIT voids that."""
    pk = make()

    def write() -> None:
        with transaction.atomic():
            bump(pk)
            here("updated")

    writer = stage.act(write, hold_at=["updated"])
    everybody_sees(stage, pk, 0)
    assert found(pk) is Found.HIT
    writer.finish()
    everybody_sees(stage, pk, 1)


@race(mutants.fill_ignores_lease)
def fill_of_what_was_loaded_between_update_and_commit(stage: Stage) -> None:
    """The reader begins before the intent is placed and fills after the release."""
    pk = make()

    def write() -> None:
        with transaction.atomic():
            bump(pk)
            here("updated")

    writer = stage.act(write, hold_at=["updated"])
    reader = stage.act(lambda: version(pk), hold_at=["before-fill"])
    writer.finish()
    assert reader.finish() == 0
    everybody_sees(stage, pk, 1)


@race(mutants.intents_unseen)
def read_between_intent_and_commit(stage: Stage) -> None:
    """It reads past the cache and leaves nothing behind that a reader after the COMMIT could hit."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        with transaction.atomic():
            bump(pk)

    writer = stage.act(write, hold_at=["before-commit", "after-commit"])
    everybody_sees(stage, pk, 0)
    writer.go_on()
    writer.wait_held()
    everybody_sees(stage, pk, 1)
    writer.finish()
    everybody_sees(stage, pk, 1)
    assert found(pk) is Found.HIT


@race(mutants.no_intents)
def read_between_commit_and_release(stage: Stage) -> None:
    """Deleting the entry after COMMIT would be too late for this reader."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        with transaction.atomic():
            bump(pk)

    writer = stage.act(write, hold_at=["after-commit"])
    everybody_sees(stage, pk, 1)
    writer.finish()
    everybody_sees(stage, pk, 1)


@race(mutants.fill_ignores_lease_and_epoch)
def flushall_between_lease_and_fill(stage: Stage) -> None:
    """A server that forgets everything costs a load: the lease is gone, and so is the epoch."""
    pk, other = make(), make()
    reader = stage.act(lambda: version(pk), hold_at=["before-fill"])
    server().flushall()
    stage.run(lambda: bump(pk))
    assert stage.run(lambda: version(other)) == 0
    assert reader.finish() == 0
    everybody_sees(stage, pk, 1)


@race(mutants.release_only_own)
def flushall_between_intent_and_release(stage: Stage) -> None:
    """The intent is lost and a reader fills the old row before COMMIT: the release deletes what it finds."""
    pk = make()

    def write() -> None:
        with transaction.atomic():
            bump(pk)

    writer = stage.act(write, hold_at=["before-commit"])
    server().flushall()
    everybody_sees(stage, pk, 0)
    writer.finish()
    everybody_sees(stage, pk, 1)


@race(mutants.no_take_over)
def dead_reader(stage: Stage) -> None:
    """It dies between load and fill: the next one takes its lease over and fills."""
    pk = make()
    try:
        stage.run(lambda: version(pk), before_fill=SystemExit())
    except SystemExit:
        pass
    else:
        raise RuntimeError("it was not to survive")
    with override_settings(CACHEASIDE={"CACHE": "default", "WAIT": 0}):
        everybody_sees(stage, pk, 0)
        assert found(pk) is Found.HIT


@race(mutants.fill_ignores_lease)
def slow_reader_that_was_taken_over(stage: Stage) -> None:
    """Its lease is another process's by now, whose fill a writer has voided: the slow one's own comes last."""
    pk = make()
    with override_settings(CACHEASIDE={"CACHE": "default", "WAIT": 0}), elsewhere() as other:
        slow = stage.act(lambda: version(pk), hold_at=["before-fill"])
        assert stage.run(lambda: other.version(pk)) == 0
        assert found(pk) is Found.HIT
        stage.run(lambda: bump(pk))
        assert slow.finish() == 0
        assert stage.run(lambda: other.version(pk)) == 1
        everybody_sees(stage, pk, 1)


@race(mutants.nobody_listens)
def raw_update_between_lease_and_fill(stage: Stage) -> None:
    """The net voids the lease for raw SQL too."""
    pk = make()
    reader = stage.act(lambda: version(pk), hold_at=["before-fill"])
    stage.run(lambda: sql("UPDATE app_product SET version = 1 WHERE id = %s", pk))
    assert reader.finish() == 0
    everybody_sees(stage, pk, 1)

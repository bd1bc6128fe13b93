"""Readers by unique keys and listings, while the rows that they name change their values."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F

from tests.app.keyed import Gadget
from tests.races import mutants
from tests.races.play import here, race
from tests.races.stage import Stage


def add(slug: str | None, **values: Any) -> int:
    """A new row. Returns its primary key."""
    values = {"sku": f"sku of {slug}", **values}
    return int(Gadget.objects.create(slug=slug, **values).pk)


def of_slug(slug: str) -> int | None:
    """The row that a reader finds by its unique key."""
    try:
        return int(Gadget.cached.get(slug=slug).pk)
    except Gadget.DoesNotExist:
        return None


def of_rank(rank: int) -> list[int]:
    """The rows that a reader finds in a listing."""
    return sorted(one.pk for one in Gadget.cached.filter(double=2 * rank))


def change(pk: int, **values: Any) -> None:
    """One UPDATE by primary key."""
    Gadget.objects.filter(pk=pk).update(**values)


def everybody_finds(stage: Stage, slug: str, wanted: int | None) -> None:
    """Three fresh readers after each other: one may load, one may fill, one may hit."""
    seen = [stage.run(lambda: of_slug(slug)) for _ in range(3)]
    assert seen == [wanted] * 3, f"the database says {wanted}, readers found {seen}"


def everybody_lists(stage: Stage, rank: int, wanted: list[int]) -> None:
    """As ``everybody_finds``."""
    seen = [stage.run(lambda: of_rank(rank)) for _ in range(3)]
    assert seen == [wanted] * 3, f"the database says {wanted}, readers found {seen}"


@race(mutants.fill_ignores_lease, mutants.no_declared_keys)
def late_fill_of_a_unique_key(stage: Stage) -> None:
    """A reader finds no row; one takes the value; the reader stores that there is none."""
    pk = add(None)
    reader = stage.act(lambda: of_slug("a"), hold_at=["before-fill"])
    stage.run(lambda: change(pk, slug="a"))
    assert reader.finish() is None
    everybody_finds(stage, "a", pk)


@race(mutants.fill_ignores_lease, mutants.no_declared_keys)
def late_fill_of_a_listing(stage: Stage) -> None:
    """A reader loads the rows of a listing; another one joins it; the reader stores it without."""
    pks = [add("a", rank=1), add("b", rank=2)]
    reader = stage.act(lambda: of_rank(1), hold_at=["before-fill"])
    stage.run(lambda: change(pks[1], rank=F("rank") - 1))
    assert reader.finish() == pks[:1]
    everybody_lists(stage, 1, pks)


@race(mutants.no_declared_keys)
def read_between_update_and_commit(stage: Stage) -> None:
    """A reader stores that no row has the value, which is true of what is committed; the COMMIT voids it."""
    pk = add("a")

    def write() -> None:
        with transaction.atomic():
            change(pk, slug="b")
            here("updated")

    writer = stage.act(write, hold_at=["updated"])
    assert stage.run(lambda: of_slug("b")) is None
    writer.finish()
    everybody_finds(stage, "b", pk)


@race(mutants.no_declared_keys, mutants.intents_unseen)
def read_between_intent_and_commit(stage: Stage) -> None:
    """Readers go past the key until the COMMIT is through: nothing that they find meanwhile is kept."""
    pk = add("a")
    assert stage.run(lambda: of_slug("b")) is None
    writer = stage.act(lambda: change(pk, slug="b"), hold_at=["after-intent", "after-commit"])
    assert stage.run(lambda: of_slug("b")) is None
    writer.go_on()
    assert stage.run(lambda: of_slug("b")) == pk
    writer.finish()
    everybody_finds(stage, "b", pk)


@race(mutants.entries_are_believed)
def a_value_changes_hands(stage: Stage) -> None:
    """A reader has the entry; the value goes over to another row in one COMMIT; "no such row" was never true."""
    old, new = add("a"), add("b")
    for _ in range(2):
        assert stage.run(lambda: of_slug("a")) == old
    reader = stage.act(lambda: of_slug("a"), hold_at=["after-index"])

    def hand_over() -> None:
        with transaction.atomic():
            change(old, slug=None)
            change(new, slug="a")

    stage.run(hand_over)
    assert reader.finish() == new
    everybody_finds(stage, "a", new)


@race(mutants.rows_are_not_compared)
def a_row_leaves_a_listing(stage: Stage) -> None:
    """A reader has the entry; a row goes over to another listing; it is in one of them, not in both."""
    pks = [add("a", rank=1), add("b", rank=1), add("c", rank=1)]
    for _ in range(2):
        assert stage.run(lambda: of_rank(1)) == pks
    reader = stage.act(lambda: of_rank(1), hold_at=["after-index"])
    stage.run(lambda: change(pks[0], rank=2))
    assert reader.finish() == pks[1:]
    everybody_lists(stage, 1, pks[1:])
    everybody_lists(stage, 2, pks[:1])


@race(mutants.rows_of_a_listing_are_filled)
def rows_that_came_with_an_entry_are_not_filled(stage: Stage) -> None:
    """They were read before any lease of theirs was taken."""
    pk = add("a", rank=1, title="old")
    reader = stage.act(lambda: of_rank(1), hold_at=["before-fill"])
    stage.run(lambda: change(pk, title="new"))
    reader.finish()
    seen = [stage.run(lambda: Gadget.cached.get(pk=pk).title) for _ in range(2)]
    assert seen == ["new", "new"]


@race(mutants.own_declared_keys_are_served)
def a_transaction_finds_what_it_has_written(stage: Stage) -> None:
    """By its new value and no more by its old one, though others still find it so."""
    pk = add("a", rank=1)

    def write() -> tuple[Any, ...]:
        with transaction.atomic():
            Gadget.objects.filter(rank=1).update(slug="b", rank=2)
            return of_slug("a"), of_slug("b"), of_rank(1), of_rank(2)

    for slug, rank in (("a", 1), ("b", 2)):
        for _ in range(2):
            stage.run(lambda slug=slug, rank=rank: (of_slug(slug), of_rank(rank)))  # type: ignore[misc]
    assert stage.run(write) == (None, pk, [], [pk])
    everybody_finds(stage, "b", pk)


@race(mutants.entries_are_believed)
def a_deleted_row_has_an_heir(stage: Stage) -> None:
    """The entry names a row that is gone, by a DELETE that names no values."""
    old = add("a")
    for _ in range(2):
        assert stage.run(lambda: of_slug("a")) == old
    reader = stage.act(lambda: of_slug("a"), hold_at=["after-index"])

    def replace() -> int:
        with transaction.atomic():
            Gadget.objects.filter(pk=old)._raw_delete("default")
            return add("a")

    heir = stage.run(replace)
    assert reader.finish() == heir
    everybody_finds(stage, "a", heir)

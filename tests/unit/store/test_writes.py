"""The write set: only ever added to."""

from __future__ import annotations

from django_cacheaside.keys import KeySpace
from django_cacheaside.store import writes as module
from django_cacheaside.store.writes import Writes

PRODUCT = KeySpace("shop.product", "main", str)
ORDER = KeySpace("shop.order", "main", str)


class TestWrites:
    def test_is_false_until_something_is_added(self) -> None:
        writes = Writes()
        assert not writes
        writes.add_rows(PRODUCT, [])
        assert not writes
        writes.add_rows(PRODUCT, ["1"])
        assert writes

    def test_covers_rows_and_whole_models(self) -> None:
        writes = Writes()
        writes.add_rows(PRODUCT, ["1"])
        writes.add_model(ORDER)
        assert writes.covers(PRODUCT, "1")
        assert not writes.covers(PRODUCT, "2")
        assert writes.covers(ORDER, "2")

    def test_a_model_swallows_its_rows(self) -> None:
        writes = Writes()
        writes.add_rows(PRODUCT, ["1"])
        writes.add_model(PRODUCT)
        writes.add_rows(PRODUCT, ["2"])
        assert list(writes.row_groups()) == []
        assert writes.spaces() == {PRODUCT}

    def test_keys_of_rows_are_made_once_for_intents_and_release(self) -> None:
        writes = Writes()
        writes.add_rows(PRODUCT, ["1"])
        assert writes.row_keys() == [[PRODUCT.entry("1"), PRODUCT.lease("1")]]
        assert writes.row_keys() is writes.row_keys()

    def test_keys_of_rows_follow_what_is_added_later(self) -> None:
        """A release that left a row out would leave its intent, and after that the old row's filler."""
        writes, other = Writes(), Writes()
        writes.add_rows(PRODUCT, ["1"])
        assert len(writes.row_keys()) == 1
        writes.add_rows(PRODUCT, ["2"])
        assert sorted(writes.row_keys()[0]) == sorted(PRODUCT.entries("12") + PRODUCT.leases("12"))
        other.add_rows(ORDER, ["3"])
        writes.absorb(other)
        assert [ORDER.entry("3"), ORDER.lease("3")] in writes.row_keys()
        writes.add_model(PRODUCT)
        assert writes.row_keys() == [[ORDER.entry("3"), ORDER.lease("3")]]
        writes.clear()
        assert writes.row_keys() == []

    def test_very_many_rows_become_their_model(self) -> None:
        """A commit must not wait for hundreds of scripts; the epoch is one."""
        writes = Writes()
        writes.add_rows(PRODUCT, map(str, range(module.ROWS_PER_MODEL)))
        assert not writes.models
        writes.add_rows(PRODUCT, ["another"])
        assert writes.models == {PRODUCT}

    def test_a_copy_is_apart(self) -> None:
        writes = Writes()
        writes.add_rows(PRODUCT, ["1"])
        same = writes.copy()
        writes.add_rows(PRODUCT, ["2"])
        assert [sorted(idents) for _, idents in same.row_groups()] == [["1"]]

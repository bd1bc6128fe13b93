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

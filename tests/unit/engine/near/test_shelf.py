"""A shelf holds what a plain LRU of so many bytes would, whatever is put, got and dropped in whichever order."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from sys import getsizeof

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_cacheaside.engine.near.shelf import ENTRY_OVERHEAD, Shelf

KEYS = st.sampled_from(["a", "b", "c", "dd", "é", "key" * 20])
VALUES = st.integers(0, 400).map(bytes)
ACTS = st.one_of(
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("get"), KEYS, st.just(b"")),
    st.tuples(st.just("drop"), KEYS, st.just(b"")),
    st.tuples(st.just("clear"), st.just(""), st.just(b"")),
)


def size_of(key: str, value: bytes) -> int:
    return getsizeof(key) + getsizeof(value) + ENTRY_OVERHEAD


class ListedShelf:
    """The same, slow and plain: a list, the entry used longest ago first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.entries: list[tuple[str, bytes]] = []

    @property
    def bytes(self) -> int:
        return sum(size_of(key, value) for key, value in self.entries)

    def drop(self, key: str) -> None:
        self.entries = [one for one in self.entries if one[0] != key]

    def get(self, key: str) -> bytes | None:
        for at, (held, value) in enumerate(self.entries):
            if held == key:
                self.entries.append(self.entries.pop(at))
                return value
        return None

    def put(self, key: str, value: bytes) -> None:
        self.drop(key)
        if size_of(key, value) <= self.max_bytes:
            self.entries.append((key, value))
            while self.bytes > self.max_bytes:
                del self.entries[0]


class TestShelf:
    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(max_bytes=st.integers(0, 3000), acts=st.lists(ACTS, max_size=60))
    def test_is_an_lru_of_bytes(self, max_bytes: int, acts: list[tuple[str, str, bytes]]) -> None:
        shelf, plain = Shelf(max_bytes), ListedShelf(max_bytes)
        for act, key, value in acts:
            if act == "put":
                shelf.put(key, value, 1.0)
                plain.put(key, value)
            elif act == "get":
                found = shelf.get(key)
                assert (None if found is None else found[0]) == plain.get(key)
            elif act == "drop":
                shelf.drop(key)
                plain.drop(key)
            else:
                shelf.clear()
                plain.entries = []
            assert shelf.bytes == plain.bytes <= max_bytes
            assert len(shelf) == len(plain.entries)

    @pytest.mark.parametrize("size", [10, 300, 5000])
    def test_takes_no_more_memory_than_it_says(self, size: int) -> None:
        """But for the table of places, which Python doubles at a time: it may be twice as large as it has to be."""
        max_bytes = 2_000_000
        gc.collect()
        tracemalloc.start()
        shelf = Shelf(max_bytes)
        for number in range(10_000):
            shelf.put(f"shop.product:e:{number}", bytes([number % 256]) * size, float(number))
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(shelf) < 10_000
        assert taken <= max_bytes * 1.1

    @pytest.mark.parametrize(
        "use",
        [
            pytest.param(lambda shelf: shelf.get("a"), id="one"),
            pytest.param(lambda shelf: list(shelf.get_many("", ["a", "x"])), id="many"),
        ],
    )
    def test_what_was_got_goes_last(self, use: Callable[[Shelf], object]) -> None:
        shelf = Shelf(2 * size_of("a", b"1"))
        shelf.put("a", b"1", 1.0)
        shelf.put("b", b"1", 1.0)
        use(shelf)
        shelf.put("c", b"1", 1.0)
        assert shelf.get("a") == (b"1", 1.0)
        assert shelf.get("b") is None

    def test_of_many_gives_what_is_there(self) -> None:
        shelf = Shelf(10_000)
        shelf.put("k:a", b"1", 1.0)
        shelf.put("k:b", b"2", 2.0)
        assert dict(shelf.get_many("k:", ["b", "x", "a"])) == {"b": (b"2", 2.0), "a": (b"1", 1.0)}

    def test_counts_what_had_to_go(self) -> None:
        shelf = Shelf(2 * size_of("a", b"1"))
        for key in "abc":
            shelf.put(key, b"1", 1.0)
        shelf.drop("b")
        shelf.drop("b")
        assert (len(shelf), shelf.evicted, shelf.dropped) == (1, 1, 1)

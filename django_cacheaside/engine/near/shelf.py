"""Entries by key, the one used longest ago first to go, within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from sys import getsizeof

ENTRY_OVERHEAD = 300
"""Bytes that an entry takes beside its key and its value: the objects around them, and its place among the others."""


class Shelf:
    """The near entries of one model. Every act takes the same time, however many there are.

    ``get`` may be called while another thread changes the shelf; those who change it must take turns.

    Args:
        max_bytes: How much all entries may take, ``ENTRY_OVERHEAD`` each included. One that is larger is not kept.
    """

    __slots__ = ("_held", "bytes", "dropped", "evicted", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.evicted = 0
        """How many entries had to go for others."""
        self.dropped = 0
        """How many were dropped one by one."""
        self._held: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    def get(self, key: str) -> tuple[bytes, float] | None:
        """A value and until when it may be used, in seconds of the caller's clock. It counts as used now."""
        held = self._held
        try:
            found = held[key]
            held.move_to_end(key)
        except KeyError:  # in the second place: another thread has just dropped it
            return None
        return found

    def get_many(self, prefix: str, endings: Iterable[str]) -> Iterator[tuple[str, tuple[bytes, float]]]:
        """As ``get``, for many keys that begin alike: what is kept, each with the ending of its key."""
        held = self._held
        move = held.move_to_end
        for ending in endings:
            try:
                found = held[key := prefix + ending]
                move(key)
            except KeyError:  # in the second place: another thread has just dropped it
                continue
            yield ending, found

    def put(self, key: str, value: bytes, until_s: float) -> None:
        """Keep a value in place of what was kept under its key; what was used longest ago goes."""
        self._remove(key)
        size = _size(key, value)
        if size > self.max_bytes:
            return
        self.bytes += size
        while self.bytes > self.max_bytes and self._held:
            old_key, (old_value, _) = self._held.popitem(last=False)
            self.bytes -= _size(old_key, old_value)
            self.evicted += 1
        self._held[key] = value, until_s

    def drop(self, key: str) -> None:
        """Forget what is kept under a key, if anything."""
        self.dropped += self._remove(key)

    def _remove(self, key: str) -> bool:
        found = self._held.pop(key, None)
        if found is None:
            return False
        self.bytes -= _size(key, found[0])
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)


def _size(key: str, value: bytes) -> int:
    return getsizeof(key) + getsizeof(value) + ENTRY_OVERHEAD

"""Durations counted in buckets, four to each doubling: what a percentile was, without keeping what it is one of."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

BUCKETS = 105
"""One for all below 1.024 µs, and four for each doubling of it up to 69 s; the last one holds whatever is longer."""


class Histogram:
    """Durations of one kind. Exact in one thread; among threads one may go uncounted.

    A percentile is off by less than a quarter of what it says, or by 1.024 µs if it says less than that.

    Attributes:
        counts: How many fell into each bucket.
        total_ns: Their sum in nanoseconds.
    """

    __slots__ = ("counts", "total_ns")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.total_ns = 0

    def add(self, taken_ns: int) -> None:
        """One more duration. 0.1 µs."""
        bits = taken_ns.bit_length()
        at = 4 * bits + (taken_ns >> (bits - 3)) - 47 if bits > 10 else 0  # where its first three bits stand, and which
        self.counts[at if at < BUCKETS else -1] += 1
        self.total_ns += taken_ns

    @property
    def count(self) -> int:
        """How many durations there were."""
        return sum(self.counts)

    @property
    def mean_ns(self) -> float | None:
        """Their mean; None if there are none."""
        count = self.count
        return self.total_ns / count if count else None

    def percentile_ns(self, share: float) -> float | None:
        """The duration that ``share`` of them do not exceed (0.99 for p99); None if there are none."""
        count = self.count
        if not count:
            return None
        rank = min(max(1, ceil(share * count)), count)
        before = 0
        for at, here in enumerate(self.counts):
            if before + here >= rank:
                lower, upper = bounds_ns(at)
                return lower + (upper - lower) * (rank - before - 0.5) / here
            before += here
        raise AssertionError("unreachable: the ranks end with the last bucket")


def bounds_ns(at: int) -> tuple[int, int]:
    """The least duration of a bucket, and the least of the next one."""
    if at == 0:
        return 0, 1024
    doublings, quarter = divmod(at - 1, 4)
    width = 1 << (doublings + 8)
    return (4 + quarter) * width, (5 + quarter) * width


def nonzero(histogram: Histogram) -> Iterable[tuple[int, int]]:
    """Bucket and count of each bucket that holds something."""
    return ((at, count) for at, count in enumerate(histogram.counts) if count)

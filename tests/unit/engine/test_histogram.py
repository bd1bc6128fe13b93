"""Percentiles of buckets, beside those of the durations themselves."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cacheaside.engine.histogram import BUCKETS, Histogram, bounds_ns

LONGEST_NS = bounds_ns(BUCKETS - 1)[1] - 1

durations = st.integers(0, 36).flatmap(lambda bits: st.integers(0, 1 << bits)).filter(lambda one: one <= LONGEST_NS)


def histogram_of(taken: list[int]) -> Histogram:
    histogram = Histogram()
    for one in taken:
        histogram.add(one)
    return histogram


class TestBuckets:
    def test_lie_side_by_side(self) -> None:
        bounds = [bounds_ns(at) for at in range(BUCKETS)]
        assert bounds[0][0] == 0
        assert all(lower < upper for lower, upper in bounds)
        assert [upper for _, upper in bounds[:-1]] == [lower for lower, _ in bounds[1:]]

    @pytest.mark.parametrize("at", range(BUCKETS))
    def test_hold_their_bounds(self, at: int) -> None:
        lower, upper = bounds_ns(at)
        assert histogram_of([lower, upper - 1]).counts[at] == 2

    def test_are_no_wider_than_a_quarter(self) -> None:
        assert all(upper - lower <= lower / 4 for lower, upper in map(bounds_ns, range(1, BUCKETS)))

    def test_end_with_one_for_all_that_is_longer(self) -> None:
        assert histogram_of([LONGEST_NS + 1, 1 << 60]).counts[-1] == 2


class TestPercentile:
    @given(st.lists(durations, min_size=1, max_size=200), st.floats(0, 1))
    def test_is_near_that_of_the_sorted_durations(self, taken: list[int], share: float) -> None:
        exact = sorted(taken)[max(1, ceil(share * len(taken))) - 1]
        told = histogram_of(taken).percentile_ns(share)
        assert told is not None
        assert abs(told - exact) < max(1024, told / 4)

    @given(st.lists(durations, min_size=1, max_size=50), st.floats(0, 1), st.floats(0, 1))
    def test_grows_with_its_share(self, taken: list[int], one: float, other: float) -> None:
        low, high = sorted((one, other))
        histogram = histogram_of(taken)
        assert (histogram.percentile_ns(low) or 0) <= (histogram.percentile_ns(high) or 0)

    def test_of_nothing_is_none(self) -> None:
        assert Histogram().percentile_ns(0.5) is None
        assert Histogram().mean_ns is None


class TestMean:
    @given(st.lists(durations, min_size=1))
    def test_is_exact(self, taken: list[int]) -> None:
        histogram = histogram_of(taken)
        assert histogram.count == len(taken)
        assert histogram.mean_ns == sum(taken) / len(taken)

"""Counts on their way through a hash, and what they amount to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cacheaside.engine.statistics import PROCESS, ModelStatistics, fields_of, tallies_of
from django_cacheaside.engine.tally import LOOKUPS, PASSED, SERVED, Event, Tally

tallies = st.builds(
    lambda events, drops, trips, loads: _tally(events, drops, trips, loads),
    st.dictionaries(st.sampled_from(Event), st.integers(1, 1 << 40)),
    st.dictionaries(st.text("abc |:é", min_size=1), st.integers(1, 9)),
    st.lists(st.integers(1, 1 << 37)),
    st.lists(st.integers(1, 1 << 37)),
)


def _tally(events: dict[Event, int], drops: dict[str, int], trips: list[int], loads: list[int]) -> Tally:
    tally = Tally()
    tally.counts.update(events)
    tally.drops.update(drops)
    for histogram, taken in ((tally.round_trips, trips), (tally.load_times, loads)):
        for one in taken:
            histogram.add(one)
    return tally


def _state(tally: Tally) -> object:
    return (
        tally.counts,
        tally.drops,
        *((times.counts, times.total_ns) for times in (tally.round_trips, tally.load_times)),
    )


class TestFields:
    @given(tallies, tallies)
    def test_come_back_as_they_went(self, product: Tally, process: Tally) -> None:
        fields = {**dict(fields_of("shop.product", product)), **dict(fields_of(PROCESS, process))}
        back = tallies_of(fields)
        assert _state(back.get("shop.product", Tally())) == _state(product)
        assert _state(back.get(PROCESS, Tally())) == _state(process)

    @pytest.mark.parametrize(
        "field",
        ["shop.product|SEEN", "shop.product|trip|105", "shop.product|trip|-1", "shop.product|trip|٣", "x|y|z", "", "|"],
    )
    def test_of_others_are_left_out(self, field: str) -> None:
        """A later release may count more; and bytes from the server are anybody's."""
        for tally in tallies_of({field: 7}).values():
            assert _state(tally) == _state(Tally())


class TestModelStatistics:
    def test_counts_each_lookup_once(self) -> None:
        assert len(set(LOOKUPS)) == len(LOOKUPS)
        assert set(LOOKUPS) == {*SERVED, Event.MISS, *PASSED}

    @given(tallies)
    def test_adds_up(self, tally: Tally) -> None:
        tally.counts[Event.COMMIT_OPEN] = min(tally.counts[Event.COMMIT_OPEN], tally.counts[Event.BYPASS])
        one = ModelStatistics.of("shop.product", tally)
        served = one.hits + one.stale_hits + one.negative_hits + one.near_hits
        assert one.lookups == served + one.misses + sum(one.bypasses.values())
        assert all(count >= 0 for count in one.bypasses.values())
        if one.lookups:
            assert one.hit_ratio == served / one.lookups
        else:
            assert one.hit_ratio is None

    def test_tells_the_two_bypasses_of_a_look_apart(self) -> None:
        tally = Tally()
        tally.add(Event.BYPASS, 5)
        tally.add(Event.COMMIT_OPEN, 2)
        bypasses = ModelStatistics.of("shop.product", tally).bypasses
        assert (bypasses["commit_open"], bypasses["other_columns"]) == (2, 3)

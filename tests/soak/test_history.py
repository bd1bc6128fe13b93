"""The soak's checker finds each kind of wrong read in a made-up history, and nothing in a right one."""

from __future__ import annotations

import pytest

from tests.soak.history import (
    ANY,
    NEVER_S,
    NO_ROW,
    Bounds,
    Read,
    Verdict,
    Write,
    by_age,
    judge,
    still_old,
)

LONG_AGO_S = float("-inf")
FIRST = Write("row", 0, "it", LONG_AGO_S, LONG_AGO_S)


def read(version: int, began_s: float, ended_s: float | None = None, *, reader: int = 0) -> Read:
    return Read(reader, began_s, began_s + 0.1 if ended_s is None else ended_s, "row", version)


def write(version: int, sent_s: float, acked_s: float, *, cause: str = "guarded", row: str = "it") -> Write:
    return Write("row", version, row, sent_s, acked_s, cause)


def verdict_on(reads: list[Read], *writes: Write, bounds: Bounds | None = None) -> Verdict:
    return judge(reads, [FIRST, *writes], bounds or Bounds())


class TestClean:
    def test_old_before_the_acknowledgement_and_new_behind_it(self) -> None:
        """While a COMMIT is on its way, both versions are right; none is known to be the newest."""
        reads = [read(0, 1.0), read(0, 2.0, 2.1), read(3, 2.2, 2.3), read(3, 5.0)]
        verdict = verdict_on(reads, write(3, 2.0, 2.5))
        assert verdict.is_clean
        assert verdict.reads == 4
        assert not verdict.excused

    def test_a_deleted_row_that_comes_back(self) -> None:
        writes = [write(1, 1.0, 1.1, row=""), write(2, 3.0, 3.1)]
        assert verdict_on([read(0, 0.5), read(NO_ROW, 2.0), read(NO_ROW, 3.05), read(2, 4.0)], *writes).is_clean

    def test_a_long_read_may_have_found_no_row_at_any_time(self) -> None:
        writes = [write(1, 1.0, 1.1, row=""), write(2, 1.2, 1.3)]
        assert verdict_on([read(NO_ROW, 0.5, 5.0)], *writes).is_clean

    def test_a_killed_writer_whose_commit_nobody_saw(self) -> None:
        assert verdict_on([read(0, 9.0)], write(1, 1.0, NEVER_S)).is_clean

    def test_a_version_that_the_statement_drew(self) -> None:
        """Its writer was killed before it heard which one it was."""
        assert verdict_on([read(7, 3.0)], write(ANY, 1.0, NEVER_S)).is_clean


class TestStale:
    def test_older_than_what_was_acknowledged(self) -> None:
        verdict = verdict_on([read(0, 2.0)], write(1, 1.0, 1.5))
        (old,) = verdict.stale
        assert old.age_s == pytest.approx(0.5)
        assert old.replaced_by.version == 1
        assert not verdict.is_clean

    def test_since_the_oldest_of_several_commits(self) -> None:
        (old,) = verdict_on([read(0, 5.0)], write(1, 1.0, 1.5), write(2, 2.0, 2.5)).stale
        assert old.age_s == pytest.approx(3.5)

    def test_older_than_what_another_reader_has_seen(self) -> None:
        """So it was committed, though its writer did not live to say so."""
        verdict = verdict_on([read(1, 2.0, 2.1, reader=1), read(0, 3.0)], write(1, 1.0, NEVER_S))
        assert [old.read.version for old in verdict.stale] == [0]

    def test_no_row_where_there_is_one(self) -> None:
        writes = [write(1, 1.0, 1.1, row=""), write(2, 2.0, 2.1)]
        assert len(verdict_on([read(NO_ROW, 3.0)], *writes).stale) == 1

    def test_no_row_where_there_always_was_one(self) -> None:
        assert len(verdict_on([read(NO_ROW, 3.0)]).stale) == 1

    def test_a_row_that_was_deleted(self) -> None:
        assert len(verdict_on([read(0, 3.0)], write(1, 1.0, 1.1, row="")).stale) == 1

    def test_ages_are_sorted_into_steps(self) -> None:
        verdict = verdict_on([read(0, 1.505), read(0, 1.55), read(0, 4.0)], write(1, 1.0, 1.5))
        assert by_age(verdict.stale, (0.01, 0.1, 1.0)) == [1, 1, 0, 1]


class TestBounds:
    """A writer that was cut off: others see the old row until its commit is relayed."""

    def test_excused_within_the_bound_and_not_behind_it(self) -> None:
        bounds = Bounds({"cut off": 2.0})
        verdict = verdict_on([read(0, 3.0), read(0, 3.6)], write(1, 1.0, 1.5, cause="cut off"), bounds=bounds)
        assert [old.read.began_s for old in verdict.excused] == [3.0]
        assert [old.read.began_s for old in verdict.stale] == [3.6]

    def test_nobody_can_relay_while_the_server_is_away(self) -> None:
        bounds = Bounds({"cut off": 2.0}, away=[(2.0, 6.0)])
        assert len(verdict_on([read(0, 7.9)], write(1, 1.0, 1.5, cause="cut off"), bounds=bounds).excused) == 1
        assert len(verdict_on([read(0, 8.1)], write(1, 1.0, 1.5, cause="cut off"), bounds=bounds).stale) == 1

    def test_a_cause_that_is_allowed_nothing(self) -> None:
        bounds = Bounds({"cut off": 2.0})
        assert len(verdict_on([read(0, 1.6)], write(1, 1.0, 1.5, cause="away"), bounds=bounds).stale) == 1

    def test_one_excuse_does_not_cover_another_commit(self) -> None:
        writes = [write(1, 1.0, 1.1, cause="cut off"), write(2, 1.2, 1.3)]
        verdict = verdict_on([read(0, 1.6)], *writes, bounds=Bounds({"cut off": 2.0}))
        assert [old.replaced_by.version for old in verdict.stale] == [2]

    def test_who_misses_the_insert_misses_no_later_write(self) -> None:
        """What voids the knowledge that there is no row is the INSERT; later writes of the row don't name it."""
        writes = [write(1, 1.0, 1.1, row=""), write(2, 1.2, 1.3, cause="cut off"), write(3, 1.4, 1.5)]
        assert not verdict_on([read(NO_ROW, 2.0)], *writes, bounds=Bounds({"cut off": 2.0})).stale
        writes[1] = write(2, 1.2, 1.3)
        assert len(verdict_on([read(NO_ROW, 2.0)], *writes, bounds=Bounds({"cut off": 2.0})).stale) == 1

    def test_who_misses_that_a_key_changed_hands_misses_no_write_of_the_other_row(self) -> None:
        writes = [write(1, 1.0, 1.1, row="other", cause="cut off"), write(2, 1.2, 1.3, row="other")]
        assert not verdict_on([read(0, 2.0)], *writes, bounds=Bounds({"cut off": 2.0})).stale
        writes.append(write(3, 1.4, 1.5))
        assert len(verdict_on([read(0, 2.0)], *writes, bounds=Bounds({"cut off": 2.0})).stale) == 1


class TestDirty:
    def test_what_was_never_committed(self) -> None:
        verdict = verdict_on([read(5, 2.0)], write(1, 1.0, 1.5))
        assert [one.version for one in verdict.dirty] == [5]
        assert not verdict.is_clean

    def test_what_was_not_yet_committed(self) -> None:
        assert len(verdict_on([read(1, 0.5, 0.9)], write(1, 1.0, 1.5)).dirty) == 1

    def test_a_version_in_which_there_is_no_row(self) -> None:
        assert len(verdict_on([read(1, 2.0)], write(1, 1.0, 1.5, row="")).dirty) == 1


class TestNonMonotonic:
    def test_the_same_reader_goes_back(self) -> None:
        verdict = verdict_on([read(1, 2.0), read(0, 3.0)], write(1, 1.0, NEVER_S))
        assert [one.version for one in verdict.backwards] == [0]
        assert not verdict.is_clean

    def test_two_readers_are_two(self) -> None:
        verdict = verdict_on([read(1, 2.0, 2.4), read(0, 2.2, 2.3, reader=1)], write(1, 1.0, NEVER_S))
        assert verdict.is_clean

    def test_excused_with_its_stale_read(self) -> None:
        reads = [read(1, 1.6), read(0, 2.0)]
        verdict = verdict_on(reads, write(1, 1.0, 1.5, cause="cut off"), bounds=Bounds({"cut off": 2.0}))
        assert verdict.is_clean
        assert verdict.backwards_excused == 1


class TestPermanent:
    def test_what_the_database_does_not_hold(self) -> None:
        last = [read(0, 9.0), read(1, 9.0)]
        assert still_old(last, {"row": 1}) == [last[0]]

    def test_no_row_is_right_where_there_is_none(self) -> None:
        assert still_old([read(NO_ROW, 9.0)], {}) == []
        assert len(still_old([read(NO_ROW, 9.0)], {"row": 1})) == 1

    def test_it_is_beyond_every_bound(self) -> None:
        verdict = verdict_on([])
        verdict.permanent = [read(0, 9.0)]
        assert not verdict.is_clean

"""The judge itself."""

from __future__ import annotations

import pytest

from tests.faults.judge import NEVER, UNTIL_TOLD, Bound, Commit, Read, judge, until_relayed

PK = 7


def read(began_s: float, version: int, *, is_hit: bool = True) -> Read:
    return Read(began_s, began_s + 0.1, PK, version, is_hit)


def stale(bound: Bound, commits: list[Commit], *reads: Read) -> tuple[list[Read], list[Read]]:
    verdict = judge([reads], commits, bound, fault_s=0.0, heal_s=100.0)
    return verdict.stale, verdict.excused


class TestStale:
    def test_is_an_older_version_than_one_acknowledged_before_the_read_began(self) -> None:
        old, new = read(2.1, 0), read(2.1, 1)
        assert stale(NEVER, [Commit(PK, 1, 2.0)], old, new) == ([old], [])

    def test_is_not_what_was_read_while_the_commit_was_under_way(self) -> None:
        assert stale(NEVER, [Commit(PK, 1, 2.0)], read(1.95, 0)) == ([], [])

    def test_is_not_a_newer_version_than_the_writer_knows_of(self) -> None:
        assert stale(NEVER, [Commit(PK, 1, 2.0)], read(3.0, 2)) == ([], [])

    def test_is_no_row_where_there_is_one(self) -> None:
        """An absent row is version -1: a row that was inserted and is not found."""
        gone = read(3.0, -1)
        assert stale(NEVER, [Commit(PK, 0, 2.0)], gone) == ([gone], [])

    def test_goes_by_row(self) -> None:
        assert stale(NEVER, [Commit(PK + 1, 1, 2.0)], read(3.0, 0)) == ([], [])


class TestBound:
    @pytest.mark.parametrize(
        ("began_s", "is_excused"), [pytest.param(2.9, True, id="before"), pytest.param(3.1, False, id="after")]
    )
    def test_excuses_until_the_server_was_told(self, began_s: float, is_excused: bool) -> None:
        commit = Commit(PK, 1, 2.0, is_guarded=False, told_s=3.0)
        old = read(began_s, 0)
        assert stale(UNTIL_TOLD, [commit], old) == (([], [old]) if is_excused else ([old], []))

    def test_excuses_no_longer_than_it_says(self) -> None:
        commit = Commit(PK, 1, 2.0, is_guarded=False)
        early, late = read(2.4, 0), read(2.6, 0)
        assert stale(Bound(until_told=True, most_s=0.5), [commit], early, late) == ([late], [early])

    def test_counts_from_the_time_at_which_somebody_could_be_told(self) -> None:
        commit = Commit(PK, 1, 2.0, is_guarded=False)
        early, late = read(5.4, 0), read(5.6, 0)
        assert stale(until_relayed(0.5, since_s=5.0), [commit], early, late) == ([late], [early])

    def test_excuses_nothing_where_the_intents_stood(self) -> None:
        """A read that misses two commits is excused only if both may be missed."""
        old = read(2.9, 0)
        lost, guarded = Commit(PK, 1, 2.0, is_guarded=False, told_s=3.0), Commit(PK, 2, 2.5)
        assert stale(UNTIL_TOLD, [lost, guarded], old) == ([old], [])

    def test_excuses_nothing_if_it_is_never(self) -> None:
        old = read(2.9, 0)
        assert stale(NEVER, [Commit(PK, 1, 2.0, is_guarded=False)], old) == ([old], [])


def test_counts_hits_before_the_fault_and_reads_between_fault_and_heal() -> None:
    reads = [read(1.0, 0), read(2.0, 0, is_hit=False), read(3.05, 0), read(4.0, 0), read(5.0, 0), read(5.95, 0)]
    verdict = judge([reads, []], [], NEVER, fault_s=3.1, heal_s=6.0)
    assert (verdict.hit_ratio, verdict.reads_between, verdict.reads) == (0.5, [2, 0], 6)

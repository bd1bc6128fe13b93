"""The judge: a read that began after a commit was acknowledged must see that commit.

Knows neither Django nor the cache: it holds two lists of facts against each other. All times are
``time.monotonic_ns()``, one clock for all processes of a machine.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Write(NamedTuple):
    """A commit: the row's new version, and when the COMMIT had been acknowledged."""

    pk: int
    version: int
    acknowledged_ns: int


class Read(NamedTuple):
    """A read: the version that it saw, and when it began."""

    pk: int
    version: int
    began_ns: int


@dataclass(frozen=True, slots=True)
class Stale:
    """A read that saw ``read.version`` although ``missed`` had been acknowledged before it began."""

    read: Read
    missed: Write


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many reads were judged, how many were stale, and the first of these."""

    reads: int
    stale: int
    first: Stale | None


def judge(writes: Iterable[Write], reads: Iterable[Read]) -> Verdict:
    """Count the stale reads.

    Args:
        writes: In any order; a row's versions grow from commit to commit. Held in memory.
        reads: In any order. Taken one by one.
    """
    commits = _newest_by_time(writes)
    count = stale = 0
    first: Stale | None = None
    for read in reads:
        count += 1
        of_row = commits.get(read.pk)
        if of_row is None:
            continue
        times, newest = of_row
        before = bisect_left(times, read.began_ns)
        if before and read.version < newest[before - 1].version:
            stale += 1
            first = first or Stale(read, newest[before - 1])
    return Verdict(count, stale, first)


def _newest_by_time(writes: Iterable[Write]) -> dict[int, tuple[list[int], list[Write]]]:
    """Per row: when commits were acknowledged, in order, and the newest version that was acknowledged by then."""
    by_row: dict[int, list[Write]] = defaultdict(list)
    for write in writes:
        by_row[write.pk].append(write)
    commits = {}
    for pk, of_row in by_row.items():
        of_row.sort(key=lambda write: write.acknowledged_ns)
        newest = of_row[:1]
        for write in of_row[1:]:
            newest.append(max(newest[-1], write, key=lambda one: one.version))
        commits[pk] = ([write.acknowledged_ns for write in of_row], newest)
    return commits

"""Who has read an old row, and whether the guarantee table says that he may.

Pure: reads and commits with their times, all by one clock, go in. A read is *stale* if a newer version than the one it
returned was known to be committed before the read began: its writer had the acknowledgement, or somebody had seen it in
the database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

FOREVER_S = float("inf")


class Read(NamedTuple):
    """What one reader saw of one row, -1 for no row. Times in seconds."""

    began_s: float
    ended_s: float
    pk: int
    version: int
    is_hit: bool


class Commit(NamedTuple):
    """A version that is known to be committed since ``acked_s``.

    ``is_guarded``: its intents stood until its release, so that not even for a moment an old row may be seen. Otherwise
    (they could not be placed, or were lost, or it outlived them) others may see one until the server was told of it, at
    ``told_s``, if it ever was.
    """

    pk: int
    version: int
    acked_s: float
    is_guarded: bool = True
    told_s: float = FOREVER_S


@dataclass(frozen=True)
class Bound:
    """What the guarantee table allows, for commits that were not guarded; for those that were, nothing ever.

    Args:
        until_told: Old rows may be seen until the server was told of the commit.
        most_s: But no longer than this after it was acknowledged, in seconds.
        since_s: If that was before this time, no longer than ``most_s`` after it: before, nobody could be told.
    """

    until_told: bool = False
    most_s: float = FOREVER_S
    since_s: float = 0.0

    def excuses(self, commit: Commit, began_s: float) -> bool:
        """May a read that began then not know of the commit?"""
        if commit.is_guarded or began_s > max(commit.acked_s, self.since_s) + self.most_s:
            return False
        return self.until_told and began_s <= commit.told_s


NEVER = Bound()
"""No old row, whatever happens."""

UNTIL_TOLD = Bound(until_told=True)
"""Until the writer has reached the server."""


def until_relayed(most_s: float, *, since_s: float = 0.0) -> Bound:
    """Until the journal was relayed, whether or not the writer has reached the server."""
    return Bound(until_told=True, most_s=most_s, since_s=since_s)


@dataclass
class Verdict:
    """What the readers of one scenario have seen."""

    reads: int = 0
    hits_before: int = 0
    reads_before: int = 0
    seen: set[int] = field(default_factory=set)
    """Every version that was seen."""
    reads_between: list[int] = field(default_factory=list)
    """Of each reader, between fault and heal."""
    stale: list[Read] = field(default_factory=list)
    excused: list[Read] = field(default_factory=list)

    @property
    def hit_ratio(self) -> float:
        """The share of hits before the fault."""
        return self.hits_before / max(self.reads_before, 1)


def judge(
    readers: Iterable[Sequence[Read]], commits: Iterable[Commit], bound: Bound, *, fault_s: float, heal_s: float
) -> Verdict:
    """Sort the reads of all readers."""
    by_pk: dict[int, list[Commit]] = defaultdict(list)
    for commit in commits:
        by_pk[commit.pk].append(commit)
    for same in by_pk.values():
        same.sort(key=lambda commit: commit.version, reverse=True)
    verdict = Verdict()
    for reads in readers:
        verdict.reads += len(reads)
        verdict.seen |= {read.version for read in reads}
        before = [read for read in reads if read.ended_s < fault_s]
        verdict.reads_before += len(before)
        verdict.hits_before += sum(read.is_hit for read in before)
        verdict.reads_between.append(sum(fault_s <= read.began_s and read.ended_s <= heal_s for read in reads))
        for read in reads:
            missed = _missed(read, by_pk[read.pk])
            if missed:
                is_excused = all(bound.excuses(commit, read.began_s) for commit in missed)
                (verdict.excused if is_excused else verdict.stale).append(read)
    return verdict


def _missed(read: Read, newest_first: Sequence[Commit]) -> list[Commit]:
    """The commits that the read should have known of."""
    missed: list[Commit] = []
    for commit in newest_first:
        if commit.version <= read.version:
            break
        if commit.acked_s < read.began_s:
            missed.append(commit)
    return missed

"""What was read and what was committed, by one clock, and whether the guarantee table allows it. Pure.

A *subject* is what a reader asks for: a row by its primary key, a unique key's row, a row's place in a listing. Its
states are numbered by versions, which only grow; in some of them there is no such row. A read is

- *stale* if a newer state than the one it returned was known to be committed before the read began: its writer had the
  acknowledgement, or a read that had ended had returned it;
- *dirty* if it returned what was never committed, or returned it before its COMMIT was sent;
- *non-monotonic* if the same reader had seen a newer state of the same subject before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

NEVER_S = float("inf")

NO_ROW = -1
"""The version that a reader has seen where there was no row."""

ANY = -2
"""The version of a write whose statement draws it, and whose writer died before it heard which it was."""

GUARDED = "guarded"
"""The cause of a commit whose intents stood until its release: nothing excuses that an old row is seen."""


class Read(NamedTuple):
    """One look at one subject; times in seconds."""

    reader: int
    began_s: float
    ended_s: float
    subject: str
    version: int
    way: str = ""


class Write(NamedTuple):
    """One state of one subject. ``acked_s`` is ``NEVER_S`` if nobody knows whether it was committed.

    ``row``: which row is found, "" if none. ``cause``: why an old row may be seen after it, a key of the bounds; else
    ``GUARDED``.
    """

    subject: str
    version: int
    row: str
    sent_s: float
    acked_s: float
    cause: str = GUARDED
    writer: int = 0
    act: str = ""


@dataclass(frozen=True)
class Bounds:
    """For how long an old row may be seen after a commit, by its cause, in seconds.

    Args:
        by_cause: What is not named here is allowed nothing.
        away: From when to when nobody reached the server: what is to be relayed in that time can be relayed behind it.
    """

    by_cause: Mapping[str, float] = field(default_factory=dict)
    away: Sequence[tuple[float, float]] = ()

    def end_s(self, write: Write, known_s: float) -> float:
        """Until when reads may begin that don't know of the write."""
        bound_s = self.by_cause.get(write.cause, 0.0)
        if not bound_s:
            return known_s
        end_s = known_s + bound_s
        for began_s, ended_s in self.away:
            if began_s <= end_s and ended_s > known_s:
                end_s = max(end_s, ended_s + bound_s)
        return end_s


class Old(NamedTuple):
    """A stale read: for how long what it returned had been replaced, and by which write."""

    read: Read
    age_s: float
    replaced_by: Write


@dataclass
class Verdict:
    """What was found."""

    reads: int = 0
    stale: list[Old] = field(default_factory=list)
    excused: list[Old] = field(default_factory=list)
    dirty: list[Read] = field(default_factory=list)
    backwards: list[Read] = field(default_factory=list)
    backwards_excused: int = 0
    permanent: list[Read] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Is nothing beyond the bounds?"""
        return not (self.stale or self.dirty or self.backwards or self.permanent)


class _Subject:
    """The states of one subject, and since when each is known to be committed."""

    def __init__(self, writes: Iterable[Write]) -> None:
        self.known_s: dict[int, float] = {}
        self.states: dict[int, Write] = {}
        self.drawn_since_s = NEVER_S
        for write in writes:
            if write.version == ANY:
                self.drawn_since_s = min(self.drawn_since_s, write.sent_s)
            else:
                self.states[write.version] = write
                self.known_s[write.version] = write.acked_s

    def note_seen(self, read: Read) -> None:
        """What somebody has read is committed, also if its writer did not live to tell."""
        if read.version in self.states:
            self.known_s[read.version] = min(self.known_s[read.version], read.ended_s)

    def close(self) -> None:
        """All is known: prepare for questions."""
        steps = sorted((known_s, version) for version, known_s in self.known_s.items() if known_s < NEVER_S)
        self._times = [known_s for known_s, _ in steps]
        self._newest: list[int] = []
        for _, version in steps:
            self._newest.append(max(version, self._newest[-1]) if self._newest else version)
        self._gone = sorted(version for version, write in self.states.items() if not write.row)

    def floor(self, at_s: float) -> int:
        """The newest version that was known to be committed before that time."""
        at = bisect_left(self._times, at_s)
        return self._newest[at - 1] if at else NO_ROW

    def is_dirty(self, read: Read) -> bool:
        """Was that never committed, or not yet? A missing row may be anything but that."""
        if read.version == NO_ROW:
            return False
        write = self.states.get(read.version)
        if write is None:
            return read.ended_s < self.drawn_since_s
        return not write.row or read.ended_s < write.sent_s

    def seen(self, read: Read) -> int:
        """The newest version that the read may have returned."""
        if read.version != NO_ROW:
            return read.version
        return max((one for one in self._gone if self.states[one].sent_s <= read.ended_s), default=NO_ROW)

    def missed(self, version: int, began_s: float) -> list[tuple[float, Write]]:
        """The newer writes that a read which began then should have known, and since when they were known.

        Of these only such as void what was found: a write of the row itself, or the one by which another row, or none,
        came to be found in its place. Who finds none misses the INSERT, not what is done with the row later.
        """
        found = self.states[version].row if version in self.states else ""
        before = found
        missed: list[tuple[float, Write]] = []
        for one in sorted(one for one, known_s in self.known_s.items() if one > version and known_s < began_s):
            write = self.states[one]
            if (found and write.row == found) or (before == found and write.row != found):
                missed.append((self.known_s[one], write))
            before = write.row
        return sorted(missed)


def judge(reads: Sequence[Read], writes: Iterable[Write], bounds: Bounds) -> Verdict:
    """Sort the reads. Those of one reader are in the order in which they were made.

    Args:
        writes: All that was sent, the first state of each subject included; what was rolled back is not among them.
    """
    written: dict[str, list[Write]] = defaultdict(list)
    for write in writes:
        written[write.subject].append(write)
    subjects = {subject: _Subject(its_writes) for subject, its_writes in written.items()}
    for read in reads:
        subjects[read.subject].note_seen(read)
    for subject in subjects.values():
        subject.close()
    verdict = Verdict(reads=len(reads))
    newest: dict[tuple[int, str], int] = {}
    for read in reads:
        subject = subjects[read.subject]
        if subject.is_dirty(read):
            verdict.dirty.append(read)
            continue
        is_excused = _judge_age(read, subject, bounds, verdict)
        if read.version == NO_ROW:
            continue
        by = (read.reader, read.subject)
        if read.version < newest.get(by, NO_ROW):
            if is_excused:
                verdict.backwards_excused += 1
            else:
                verdict.backwards.append(read)
        newest[by] = max(read.version, newest.get(by, NO_ROW))
    return verdict


def _judge_age(read: Read, subject: _Subject, bounds: Bounds, verdict: Verdict) -> bool:
    """Note it if it is stale. Returns whether it is, and the bounds allow it."""
    version = subject.seen(read)
    if version >= subject.floor(read.began_s):
        return False
    missed = subject.missed(version, read.began_s)
    late = [(known_s, write) for known_s, write in missed if read.began_s > bounds.end_s(write, known_s)]
    known_s, write = (late or missed)[0]
    (verdict.stale if late else verdict.excused).append(Old(read, read.began_s - known_s, write))
    return not late


def still_old(last: Iterable[Read], truth: Mapping[str, int]) -> list[Read]:
    """The reads, made when everything was over, that don't show what the database holds."""
    return [read for read in last if read.version != truth.get(read.subject, NO_ROW)]


def by_age(old: Iterable[Old], steps_s: Sequence[float]) -> list[int]:
    """How many are younger than each step, and not younger than the one before; and how many are older than all."""
    counts = Counter(bisect_left(steps_s, one.age_s) for one in old)
    return [counts[at] for at in range(len(steps_s) + 1)]

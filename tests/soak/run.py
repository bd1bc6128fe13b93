"""One soak: everybody at work, one fault after the other, then calm, and what is to be said of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from django.db import connections

from example_project.embedded import EmbeddedValkey
from tests.soak import reader, writer
from tests.soak.acts import Row, rows_of
from tests.soak.faults import BUSY, CUT_OFF, HUNG_UP, Faults, Window
from tests.soak.fleet import RELAY_INTERVAL_S, Fleet
from tests.soak.history import GUARDED, Bounds, Read, Verdict, Write, judge, still_old
from tests.soak.logbook import INTENT_LOST, commits, read_logbook, unknown
from tests.soak.models import LANES, MODELS, PKS, in_lane

ELECTION_S = 3.0
"""How long the lease of a relay counts that is itself cut off, or dead, in seconds."""

MARGIN_S = 1.0
"""For a busy machine, in seconds."""

RELAYED_S = 1.25 * RELAY_INTERVAL_S + ELECTION_S + MARGIN_S
"""Within how many seconds a commit is relayed that could not be announced: a look, whose interval varies by a quarter,
by whoever is elected."""

BOUNDS_S = {
    CUT_OFF: RELAYED_S,
    HUNG_UP: RELAYED_S,
    BUSY: RELAYED_S,
    INTENT_LOST: MARGIN_S,
}
"""What the guarantee table allows. What is not named allows nothing: what is written while the server is away for all,
or before its writer has noticed that it is back."""

GRACE_S = 3 * RELAY_INTERVAL_S
"""After which a row that is still old is old for good, in seconds."""


@dataclass
class Outcome:
    """What there is to report."""

    verdict: Verdict
    seconds: float
    commits: int
    unknown: int
    unannounced: Counter[str]
    faults: Counter[str]
    windows: Sequence[Window]
    hits: int
    misses: int
    errors: Sequence[str]
    writes: Sequence[Write]

    @property
    def is_well(self) -> bool:
        """Is nothing beyond the bounds, and has nothing gone wrong?"""
        return self.verdict.is_clean and not self.errors


def run(
    stack: ExitStack,
    valkey: EmbeddedValkey,
    rng: random.Random,
    *,
    seconds: float,
    calm_s: tuple[float, float],
    is_cached: bool,
    lose: str | None,
) -> Outcome:
    """Everybody at work for ``seconds``."""
    fleet = stack.enter_context(Fleet(valkey, rng, is_cached=is_cached, lose=lose))
    began = _first_states()
    fleet.begin()
    faults = Faults(rng, valkey, fleet.lines, fleet.kill_writer, fleet.replace_writer)
    began_s = time.monotonic()
    while time.monotonic() < began_s + seconds:
        time.sleep(rng.uniform(*calm_s))
        faults.one()
    for one in fleet.writers:
        one(writer.end)
    lasted_s = time.monotonic() - began_s
    time.sleep(GRACE_S)
    errors = _debts(fleet) if lose is None else []
    reads, last = _reads_of(fleet, errors)
    hits, misses = (sum(column) for column in zip(*(one(reader.hits) for one in fleet.readers), strict=True))
    truth = {
        subject: version for label in MODELS for row in rows_of(label, PKS) for subject, version, _ in row.states()
    }
    connections.close_all()
    writes = _writes_of(fleet, faults, errors)
    if is_cached and not hits:
        errors.append("nothing was served from the cache")
    if not commits(writes):
        errors.append("nothing was committed")
    verdict = judge([*reads, *last], [*began, *writes], Bounds(BOUNDS_S, faults.away))
    verdict.permanent = still_old(last, truth)
    causes = {(one.cause, one.writer, one.sent_s) for one in writes if one.cause != GUARDED}
    return Outcome(
        verdict=verdict,
        seconds=lasted_s,
        commits=commits(writes),
        unknown=unknown(writes),
        unannounced=Counter(cause for cause, _, _ in causes),
        faults=faults.counts,
        windows=faults.windows,
        hits=hits,
        misses=misses,
        errors=errors,
        writes=writes,
    )


def _debts(fleet: Fleet) -> list[str]:
    """Which writers have not told the server of everything, though it is there."""
    return [
        f"writer {number} still owes the server an invalidation"
        for number, one in enumerate(fleet.writers)
        if one(writer.owes, GRACE_S)
    ]


def _reads_of(fleet: Fleet, errors: list[str]) -> tuple[list[Read], list[Read]]:
    """All reads, reader by reader; and then everything once more, by each of them."""
    reads: list[Read] = []
    last: list[Read] = []
    for number, one in enumerate(fleet.readers):
        its_reads, its_errors = one(reader.end)
        reads += its_reads
        errors += [f"reader {number}: {error}" for error in its_errors]
    for number, one in enumerate(fleet.readers):
        its_reads, its_errors = one(reader.read_everything, number)
        last += its_reads
        errors += [f"reader {number}, at the end: {error}" for error in its_errors]
    return reads, last


def _writes_of(fleet: Fleet, faults: Faults, errors: list[str]) -> list[Write]:
    """Of all writers, the dead ones too."""
    writes: list[Write] = []
    for number, logbook in fleet.logbooks:
        its_writes, its_errors = read_logbook(logbook, number, faults.why, faults.has_lost_intents)
        writes += its_writes
        errors += [f"writer {number}: {error}" for error in its_errors]
    return writes


def _first_states() -> list[Write]:
    """What was there before anybody began, and what was not."""
    rows: list[Row] = [row for label in MODELS for row in rows_of(label, PKS)]
    states = [state for row in rows for state in row.states()]
    states += [(in_lane(row.label, lane, row.pk), 0, "") for row in rows for lane in LANES if lane != row.lane]
    long_ago_s = float("-inf")
    return [Write(subject, version, found, long_ago_s, long_ago_s) for subject, version, found in states]

"""What has happened, counted. Exact in one thread; among threads an increment may be lost, never a row."""

from __future__ import annotations

from enum import Enum

from django_cacheaside.engine.histogram import Histogram


class Event(str, Enum):
    """What is counted, per model.

    Each entry that is asked for counts as one of ``LOOKUPS``. The other events say what became of it, and of writes.
    """

    HIT = "hits"
    STALE_HIT = "stale hits"
    NEGATIVE_HIT = "negative hits"
    NEAR_HIT = "near hits"
    MISS = "misses"
    UNDECODABLE = "undecodable entries"
    FEWER_COLUMNS = "entries with fewer columns"
    OUTDATED = "outdated index entries"
    BYPASS = "bypasses"
    OTHER_COLUMNS = "bypasses of entries with other columns"
    COMMIT_OPEN = "bypasses of entries with a commit open"
    CONTESTED = "reads of a contested database"
    CIRCUIT_OPEN = "reads while the circuit was open"
    UNANSWERED = "reads that the server did not answer"
    WRITTEN = "reads of what their own transaction has written"
    IN_SNAPSHOT = "reads in a transaction that keeps to a snapshot"
    DISABLED = "reads while the cache was disabled"
    REPLICA = "reads of a replica"
    UNCACHED_KEY = "reads by keys that are not cached"
    COMMIT_MET = "misses that met an open commit"
    WAIT = "waits"
    TAKE_OVER = "take-overs"
    SHARED = "shared loads"
    LOAD = "loads"
    FILL = "fills"
    REFUSED_FILL = "refused fills"
    UNCACHEABLE = "uncacheable rows"
    DATABASE_READ = "database reads"
    REFRESH = "refreshes"
    FAILED_REFRESH = "failed refreshes"
    OVERLOADED = "reads refused for overload"
    INVALIDATED_ROW = "invalidated rows"
    INVALIDATED_KEY = "invalidated declared keys"
    INVALIDATED_MODEL = "invalidated models"
    MISSING_INTENT = "missing intents"
    LOST_INVALIDATION = "invalidations kept for later"
    CIRCUIT_OPENED = "openings of the circuit"


SERVED = (Event.HIT, Event.STALE_HIT, Event.NEGATIVE_HIT, Event.NEAR_HIT)
"""Answered from the cache."""

PASSED = (
    Event.BYPASS,
    Event.CONTESTED,
    Event.CIRCUIT_OPEN,
    Event.UNANSWERED,
    Event.WRITTEN,
    Event.IN_SNAPSHOT,
    Event.DISABLED,
    Event.REPLICA,
    Event.UNCACHED_KEY,
)
"""Read from the database past the cache."""

LOOKUPS = (*SERVED, Event.MISS, *PASSED)
"""Of these an entry that is asked for counts as one."""


class Tally:
    """Counts of one model in this process."""

    __slots__ = ("counts", "drops", "load_times", "round_trips")

    def __init__(self) -> None:
        self.counts: dict[Event, int] = dict.fromkeys(Event, 0)
        self.drops: dict[str, int] = {}
        """How often a write dropped the whole model, by the reason in words."""
        self.round_trips = Histogram()
        """What the hits waited for: one MGET, of one row or of many."""
        self.load_times = Histogram()
        """Of the SELECTs under a lease, each of one row or of many."""

    def add(self, event: Event, times: int = 1) -> None:
        """``event`` has happened ``times`` times."""
        self.counts[event] += times

    def add_drop(self, reason: str) -> None:
        """A write dropped the whole model."""
        self.drops[reason] = self.drops.get(reason, 0) + 1

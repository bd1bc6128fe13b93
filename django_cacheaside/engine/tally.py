"""What has happened, counted. Exact in one thread; among threads an increment may be lost, never a row."""

from __future__ import annotations

from enum import Enum


class Event(str, Enum):
    """What is counted, per model."""

    HIT = "hits"
    STALE_HIT = "stale hits"
    NEGATIVE_HIT = "negative hits"
    MISS = "misses"
    UNDECODABLE = "undecodable entries"
    FEWER_COLUMNS = "entries with fewer columns"
    OUTDATED = "outdated index entries"
    BYPASS = "bypasses"
    OTHER_COLUMNS = "bypasses of entries with other columns"
    CONTESTED = "reads of a contested database"
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
    INVALIDATED_MODEL = "invalidated models"
    MISSING_INTENT = "missing intents"
    LOST_INVALIDATION = "invalidations kept for later"


class Tally:
    """Counts of one model in this process."""

    __slots__ = ("counts", "drops")

    def __init__(self) -> None:
        self.counts: dict[Event, int] = dict.fromkeys(Event, 0)
        self.drops: dict[str, int] = {}
        """How often a write dropped the whole model, by the reason in words."""

    def add(self, event: Event, times: int = 1) -> None:
        """``event`` has happened ``times`` times."""
        self.counts[event] += times

    def add_drop(self, reason: str) -> None:
        """A write dropped the whole model."""
        self.drops[reason] = self.drops.get(reason, 0) + 1

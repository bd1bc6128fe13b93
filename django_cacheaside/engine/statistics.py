"""What was counted, as one reads it; and as fields of a hash, in which the counts of all processes add up.

    shop.product|HIT            events, by their names
    shop.product|drop|<reason>  drops of the whole model
    shop.product|trip|17        bucket 17 of the histogram of round trips; ``ns``: the sum of all
    shop.product|load|31        the same of loads
    |LOST_INVALIDATION          what is counted of a process, not of a model

A field that another release has added is left out by those who don't know it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django_cacheaside.engine.histogram import BUCKETS, Histogram, nonzero
from django_cacheaside.engine.tally import LOOKUPS, PASSED, SERVED, Event, Tally

PROCESS = ""
"""In place of a model's label: what is counted of the whole process."""

_TRIP, _LOAD, _DROP, _SUM = "trip", "load", "drop", "ns"
_BY_NAME = {event.name: event for event in Event}


def fields_of(label: str, tally: Tally) -> Iterator[tuple[str, int]]:
    """The counts of a model that are not zero, by their fields."""
    for event, count in tally.counts.items():
        if count:
            yield f"{label}|{event.name}", count
    for reason, count in tally.drops.copy().items():
        yield f"{label}|{_DROP}|{reason}", count
    for kind, histogram in ((_TRIP, tally.round_trips), (_LOAD, tally.load_times)):
        for at, count in nonzero(histogram):
            yield f"{label}|{kind}|{at}", count
        if histogram.total_ns:
            yield f"{label}|{kind}|{_SUM}", histogram.total_ns


def tallies_of(fields: Mapping[str, int]) -> dict[str, Tally]:
    """The inverse of ``fields_of``, by label. What is no field of ours is left out: another release's, or anybody's."""
    tallies: dict[str, Tally] = {}
    for field, count in fields.items():
        label, _, what = field.partition("|")
        kind, _, detail = what.partition("|")
        tally = tallies.setdefault(label, Tally())
        if not detail:
            if kind in _BY_NAME:
                tally.counts[_BY_NAME[kind]] = count
        elif kind == _DROP:
            tally.drops[detail] = count
        elif kind in (_TRIP, _LOAD):
            histogram = tally.round_trips if kind == _TRIP else tally.load_times
            if detail == _SUM:
                histogram.total_ns = count
            elif detail.isascii() and detail.isdigit() and len(detail) < 4 and int(detail) < BUCKETS:
                histogram.counts[int(detail)] = count
    return tallies


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What was counted of one model.

    Args:
        label: ``app_label.model_name``.
        lookups: Entries asked for: of rows, and of declared keys. Each is one of the hits, a miss or a bypass.
        bypasses: Lookups that went past the cache, by their reason.
        drops: Statements that dropped the whole model, by their reason.
        round_trips: What the hits waited for.
        load_times: Of SELECTs under a lease.
        events: All that was counted.
    """

    label: str
    lookups: int
    hits: int
    stale_hits: int
    negative_hits: int
    near_hits: int
    misses: int
    bypasses: Mapping[str, int]
    drops: Mapping[str, int]
    round_trips: Histogram
    load_times: Histogram
    events: Mapping[Event, int]

    @classmethod
    def of(cls, label: str, tally: Tally) -> ModelStatistics:
        """The statistics that a tally amounts to."""
        counts = tally.counts
        return cls(
            label=label,
            lookups=sum(counts[event] for event in LOOKUPS),
            hits=counts[Event.HIT],
            stale_hits=counts[Event.STALE_HIT],
            negative_hits=counts[Event.NEGATIVE_HIT],
            near_hits=counts[Event.NEAR_HIT],
            misses=counts[Event.MISS],
            bypasses=_bypasses(counts),
            drops=dict(tally.drops),
            round_trips=tally.round_trips,
            load_times=tally.load_times,
            events=dict(counts),
        )

    @property
    def hit_ratio(self) -> float | None:
        """The share of lookups that the cache answered, stale, negative and near hits included; None without any."""
        return sum(self.events[event] for event in SERVED) / self.lookups if self.lookups else None


def _bypasses(counts: Mapping[Event, int]) -> dict[str, int]:
    found = {event.name.lower(): counts[event] for event in PASSED if event is not Event.BYPASS}
    at_look = {
        Event.COMMIT_OPEN.name.lower(): counts[Event.COMMIT_OPEN],
        Event.OTHER_COLUMNS.name.lower(): counts[Event.BYPASS] - counts[Event.COMMIT_OPEN],
    }
    return {**at_look, **found}

"""What the cache has done: in this process, and in all of them, as they tell each other through Redis."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from django_cacheaside.engine.invalidation import Invalidator
from django_cacheaside.engine.publisher import HOUR_S
from django_cacheaside.engine.statistics import PROCESS, ModelStatistics, fields_of, tallies_of
from django_cacheaside.engine.tally import Event, Tally
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.published import HOURS_KEPT, Published


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was counted.

    Args:
        since: When the first of the hours began; None if it is of this process, since that began.
        models: By label, of all cached models.
        process: What is counted of processes, not of models.
        hot: Reads of the keys that were asked for most, as ``{tag}ident``, the hottest first. At least as many: what a
            key had while it was not among the hottest of a process is not told.
        processes: How many have counted.
    """

    since: datetime | None
    models: Mapping[str, ModelStatistics]
    process: Mapping[Event, int]
    hot: Mapping[str, int]
    processes: int


def process_fields(invalidator: Invalidator) -> dict[str, int]:
    """What this process has counted since it began, by the fields of ``engine.statistics``."""
    fields: Counter[str] = Counter()
    for registration in registry:
        fields.update(dict(fields_of(registration.label, registration.tally)))
    whole = Tally()
    whole.add(Event.CIRCUIT_OPENED, invalidator.breaker.times_opened)
    for event in (Event.MISSING_INTENT, Event.LOST_INVALIDATION):
        whole.add(event, invalidator.tally.counts[event])
    fields.update(dict(fields_of(PROCESS, whole)))
    for (label, event), count in invalidator.written.copy().items():
        own = label.rpartition("/")[2]  # without its namespace
        model = ".".join(own.split(".")[:2])
        if own == model:
            fields[f"{model}|{event.name}"] += count
        elif event is Event.INVALIDATED_ROW:  # a declared key's entries
            fields[f"{model}|{Event.INVALIDATED_KEY.name}"] += count
    return fields


def process_statistics(invalidator: Invalidator) -> Statistics:
    """Of this process. Asks nobody."""
    return _statistics(process_fields(invalidator), since=None, hot={}, processes=1)


def fleet_statistics(published: Published, *, hours: int = HOURS_KEPT) -> Statistics:
    """Of all processes, in this hour and those before it: ``hours`` of them together. One round trip.

    Raises:
        StoreUnavailableError: The server does not answer.
    """
    now = int(time.time() // HOUR_S)
    first = now - hours + 1
    read = published.read(range(first, now + 1))
    since = datetime.fromtimestamp(first * HOUR_S, tz=timezone.utc)
    return _statistics(read.counts, since=since, hot=read.hot, processes=read.processes)


def _statistics(
    fields: Mapping[str, int], *, since: datetime | None, hot: Mapping[str, int], processes: int
) -> Statistics:
    tallies = tallies_of(fields)
    labels = sorted(registration.label for registration in registry)
    return Statistics(
        since=since,
        models={label: ModelStatistics.of(label, tallies.get(label) or Tally()) for label in labels},
        process=tallies.get(PROCESS, Tally()).counts,
        hot=hot,
        processes=processes,
    )

"""What ``stats`` shows, put together: the counts of all processes, the server's own, and what is in the databases."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connections, router

from django_cacheaside.engine.histogram import Histogram
from django_cacheaside.engine.statistics import ModelStatistics
from django_cacheaside.engine.tally import Event
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.orm import runtime
from django_cacheaside.orm.databases import is_private
from django_cacheaside.orm.journal.table import JournalEntry
from django_cacheaside.orm.registry import Registration, registry
from django_cacheaside.orm.statistics import Statistics, fleet_statistics
from django_cacheaside.store.sampling import Memory

HOT_KEYS = 20

INFO = {
    "memory": ("used_memory", "maxmemory", "maxmemory_policy"),
    "stats": ("evicted_keys", "expired_keys", "keyspace_hits", "keyspace_misses"),
}
"""What is shown of the server's INFO, by its sections."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of one journal: entries to deliver, and those that could not be read. None where it can't be read."""

    to_deliver: int | None
    set_aside: int | None


@dataclass(frozen=True, slots=True)
class HotKey:
    """A key and how often it was read, by the processes that found it hot. ``key``: ``{tag}ident``."""

    key: str
    model: str
    reads: int


@dataclass(frozen=True, slots=True)
class Report:
    """One look at everything.

    Args:
        failure: Why the server did not answer; then ``statistics``, ``server`` and ``memory`` are None.
        models: Those that were asked for.
        names: Of models by their labels, as a person writes them: ``shop.Product``.
        memory: By label; None if the server does not let us sample.
        circuit: Its state in this process.
        journal: By database alias.
    """

    failure: str | None
    statistics: Statistics | None
    models: Sequence[ModelStatistics]
    names: Mapping[str, str]
    hot: Sequence[HotKey]
    memory: Mapping[str, Memory] | None
    server: Mapping[str, str | int] | None
    circuit: str
    journal: Mapping[str, Waiting]


def make_report(chosen: Collection[Registration], *, hours: int) -> Report:
    """Look at everything now. Raises nothing: what can't be read is None.

    Round trips: up to 18, most of them for the sample of memory; a COUNT or two for each database.
    """
    current = runtime.current()
    names = {one.label: one.model._meta.label for one in chosen}
    journal = {alias: _waiting(alias) for alias in _databases()}
    try:
        server = _server(current)
        with suppress(StoreUnavailableError):  # a server that is full still tells what it has
            current.publisher.publish()
        statistics = fleet_statistics(current.published, hours=hours)
        memory = current.sample_memory(_grouping(current))
    except StoreUnavailableError as error:
        return Report(str(error), None, [], names, [], None, None, current.invalidator.breaker.state.value, journal)
    hot = [HotKey(key, model_of(key), reads) for key, reads in statistics.hot.items()]
    return Report(
        failure=None,
        statistics=statistics,
        models=[one for label, one in statistics.models.items() if label in names],
        names=names,
        hot=[one for one in hot if one.model in names][:HOT_KEYS],
        memory=memory,
        server=server,
        circuit=current.invalidator.breaker.state.value,
        journal=journal,
    )


def _databases() -> list[str]:
    aliases = dict.fromkeys(router.db_for_write(one.model) for one in registry)
    return [alias for alias in aliases if not is_private(connections[alias])]


def _waiting(alias: str) -> Waiting:
    entries = JournalEntry.objects.using(alias)
    try:
        return Waiting(entries.filter(failure="").count(), entries.exclude(failure="").count())
    except DatabaseError:
        return Waiting(None, None)


def _server(current: runtime.Runtime) -> dict[str, str | int]:
    said = current.store.info("server")
    found: dict[str, str | int] = {
        "name": "Valkey" if "valkey_version" in said else "Redis",
        "version": said.get("valkey_version") or said.get("redis_version", ""),
    }
    for section, names in INFO.items():
        said = current.store.info(section)
        for name in names:
            value = said.get(name, "").strip()
            found[name] = int(value) if value.isdigit() else value
    return found


def model_of(tag: str) -> str:
    """The model's label in a key or its tag: ``shop.product`` of ``{tenant/shop.product.slug@main}lamp``."""
    label = tag[1:].partition("@")[0].rpartition("/")[2]
    return ".".join(label.split(".")[:2])


def _grouping(current: runtime.Runtime) -> Callable[[bytes], str | None]:
    """The model of a key of this project; None for other keys, and where a KEY_FUNCTION hides what they are."""
    sample = "{cacheaside}"
    prefix = current.published.make_key(sample).encode()
    if not prefix.endswith(sample.encode()):
        return lambda _: None
    labels = "|".join(re.escape(one.label) for one in registry) or "(?!)"
    ours = re.compile(
        re.escape(prefix[: -len(sample)]) + rb"\{(?:.*/)?(" + labels.encode() + rb")(?:\.[^@]*)?@[^}]*\}[elgs]"
    )

    def group_of(key: bytes) -> str | None:
        found = ours.match(key)
        return None if found is None else found[1].decode()

    return group_of


def as_json(report: Report) -> dict[str, Any]:
    """The same as it is written for programs; ``docs/statistics.md`` says what each key means."""
    statistics = report.statistics
    return {
        "failure": report.failure,
        "since": None if statistics is None or statistics.since is None else statistics.since.isoformat(),
        "processes": None if statistics is None else statistics.processes,
        "models": {report.names[one.label]: _model_as_json(one, report.memory) for one in report.models},
        "hot_keys": [{"key": one.key, "model": report.names[one.model], "reads": one.reads} for one in report.hot],
        "server": None if report.server is None else dict(report.server),
        "circuit": {
            "state": report.circuit,
            "openings": _count(statistics, Event.CIRCUIT_OPENED),
            "missing_intents": _count(statistics, Event.MISSING_INTENT),
            "lost_invalidations": _count(statistics, Event.LOST_INVALIDATION),
        },
        "journal": {
            alias: {"waiting": one.to_deliver, "set_aside": one.set_aside} for alias, one in report.journal.items()
        },
    }


def _count(statistics: Statistics | None, event: Event) -> int | None:
    return None if statistics is None else statistics.process[event]


COUNTS = {
    "fills": Event.FILL,
    "refused_fills": Event.REFUSED_FILL,
    "uncacheable_rows": Event.UNCACHEABLE,
    "loads": Event.LOAD,
    "shared_loads": Event.SHARED,
    "waits": Event.WAIT,
    "take_overs": Event.TAKE_OVER,
    "database_reads": Event.DATABASE_READ,
    "commits_met": Event.COMMIT_MET,
    "undecodable": Event.UNDECODABLE,
    "fewer_columns": Event.FEWER_COLUMNS,
    "outdated": Event.OUTDATED,
    "overloaded": Event.OVERLOADED,
    "refreshes": Event.REFRESH,
    "failed_refreshes": Event.FAILED_REFRESH,
    "invalidated_rows": Event.INVALIDATED_ROW,
    "invalidated_keys": Event.INVALIDATED_KEY,
    "invalidated_models": Event.INVALIDATED_MODEL,
}
"""Names in JSON, beside those of ``ModelStatistics``."""


def _model_as_json(one: ModelStatistics, memory: Mapping[str, Memory] | None) -> dict[str, Any]:
    used = None if memory is None else memory.get(one.label, Memory(0, 0, 0, is_exact=False))
    return {
        "lookups": one.lookups,
        "hit_ratio": one.hit_ratio,
        "hits": one.hits,
        "stale_hits": one.stale_hits,
        "negative_hits": one.negative_hits,
        "near_hits": one.near_hits,
        "misses": one.misses,
        "bypasses": dict(one.bypasses),
        **{name: one.events[event] for name, event in COUNTS.items()},
        "drops": dict(one.drops),
        "hit_us": _times_as_json(one.round_trips),
        "load_us": _times_as_json(one.load_times),
        "memory": used and {"keys": used.keys, "bytes": used.used_bytes, "sampled": used.sampled},
    }


def _times_as_json(times: Histogram) -> dict[str, float | int | None]:
    return {
        "count": times.count,
        "mean": _us(times.mean_ns),
        "p50": _us(times.percentile_ns(0.5)),
        "p99": _us(times.percentile_ns(0.99)),
    }


def _us(taken_ns: float | None) -> float | None:
    return None if taken_ns is None else round(taken_ns / 1000, 1)

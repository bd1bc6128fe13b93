"""A report as a person reads it: aligned columns, units in their headers, nothing that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from django_cacheaside.engine.statistics import ModelStatistics
from django_cacheaside.engine.tally import Event
from django_cacheaside.management.stats_report import COUNTS, Report, Waiting
from django_cacheaside.store.sampling import Memory

NOTHING = "-"

REASONS = {
    "commit_open": "a commit was open",
    "other_columns": "filled by a release with other columns",
    **{
        event.name.lower(): event.value
        for event in (
            Event.CONTESTED,
            Event.CIRCUIT_OPEN,
            Event.UNANSWERED,
            Event.WRITTEN,
            Event.IN_SNAPSHOT,
            Event.DISABLED,
            Event.REPLICA,
            Event.UNCACHED_KEY,
        )
    },
}
"""Why a lookup went past the cache, in words."""

USUAL = ("fills", "loads", "refreshes", "database_reads")
"""Counts that say nothing by themselves: shown in JSON only."""


def text_of(report: Report) -> str:
    """The whole report, in paragraphs."""
    parts = [_head(report), *_tables(report), _notes(report), _hot(report), _rest(report)]
    return "\n\n".join(part for part in parts if part)


def _head(report: Report) -> str:
    statistics = report.statistics
    if statistics is None or statistics.since is None:
        return ""
    since = f"{timezone.localtime(statistics.since):%Y-%m-%d %H:%M}"
    return f"Counted since {since}, by {_many(statistics.processes, 'process', 'processes')}."


def _tables(report: Report) -> list[str]:
    models = [one for one in report.models if one.lookups or _memory(report, one)]
    silent = len(report.models) - len(models)
    if not models:
        return [f"Nothing was read of {_many(silent, 'cached model', 'cached models')}."] if report.statistics else []
    reads = [
        ["Reads", "lookups", "hit ratio", "hits", "stale", "negative", "near", "misses", "bypasses"],
        *(
            [
                report.names[one.label],
                f"{one.lookups:,}",
                NOTHING if one.hit_ratio is None else f"{one.hit_ratio:.1%}",
                *(f"{n:,}" for n in (one.hits, one.stale_hits, one.negative_hits, one.near_hits, one.misses)),
                f"{sum(one.bypasses.values()):,}",
            ]
            for one in models
        ),
    ]
    costs = [
        ["Costs", "hit p50 µs", "p99 µs", "loads", "load p50 µs", "p99 µs", "keys", "memory kB (est.)"],
        *(
            [
                report.names[one.label],
                *(_us(one.round_trips.percentile_ns(share)) for share in (0.5, 0.99)),
                f"{one.events[Event.LOAD]:,}",
                *(_us(one.load_times.percentile_ns(share)) for share in (0.5, 0.99)),
                *_keys_and_memory(report, one),
            ]
            for one in models
        ),
    ]
    tables = [_table(reads), _table(costs)]
    if silent:
        tables.append(f"Nothing was read of {_many(silent, 'more model', 'more models')}.")
    return tables


def _memory(report: Report, one: ModelStatistics) -> Memory | None:
    return None if report.memory is None else report.memory.get(one.label)


def _keys_and_memory(report: Report, one: ModelStatistics) -> list[str]:
    memory = _memory(report, one)
    if memory is None:
        return [NOTHING, NOTHING]
    keys = f"{memory.keys:,}" if memory.is_exact else f"~{memory.keys:,}"
    return [keys, NOTHING if memory.used_bytes is None else f"{memory.used_bytes / 1000:,.0f}"]


def _notes(report: Report) -> str:
    """What is out of the ordinary, a line for each model and kind."""
    lines: list[str] = []
    for one in report.models:
        noted = {
            "bypasses": [f"{n:,} × {REASONS[reason]}" for reason, n in one.bypasses.items() if n],
            "drops": [f"{n:,} × {reason}" for reason, n in one.drops.items() if n],
            "also": [
                f"{one.events[event]:,} {event.value}"
                for name, event in COUNTS.items()
                if name not in USUAL and one.events[event]
            ],
        }
        lines += [f"{report.names[one.label]}: {kind}: {'; '.join(said)}" for kind, said in noted.items() if said]
    return "\n".join(lines)


def _hot(report: Report) -> str:
    if not report.hot:
        return ""
    return _table([["Hot keys", "reads"], *([one.key, f"{one.reads:,}"] for one in report.hot)])


def _rest(report: Report) -> str:
    lines = [f"Server   {_server(report)}", f"Circuit  {_circuit(report)}"]
    lines += [f"Journal  {alias}: {_journal(one)}" for alias, one in report.journal.items()]
    return "\n".join(lines)


def _server(report: Report) -> str:
    server = report.server
    if server is None:
        return f"away: {report.failure}"
    limit = _mb(server["maxmemory"]) if server["maxmemory"] else "no limit"
    asked = [server["keyspace_hits"], server["keyspace_misses"]]
    ratio = ""
    if all(isinstance(one, int) for one in asked) and any(asked):
        ratio = f", {asked[0] / sum(asked):.1%} of all its lookups were hits"  # type: ignore[operator,arg-type]
    used = f"{_mb(server['used_memory'])} of {limit} ({server['maxmemory_policy']})"
    return (
        f"{server['name']} {server['version']}, {used}, "
        f"{server['evicted_keys']:,} evicted, {server['expired_keys']:,} expired{ratio}"
    )


def _circuit(report: Report) -> str:
    statistics = report.statistics
    said = f"{report.circuit} in this process"
    if statistics is None:
        return said
    counts = statistics.process
    opened = _many(counts[Event.CIRCUIT_OPENED], "time", "times")
    lost = _many(counts[Event.LOST_INVALIDATION], "commit", "commits")
    missing = _many(counts[Event.MISSING_INTENT], "intent", "intents")
    return f"{said}, opened {opened}; {lost} without the server's knowing; {missing} lost"


def _journal(waiting: Waiting) -> str:
    if waiting.to_deliver is None:
        return "can't be read"
    return f"{waiting.to_deliver:,} waiting, {waiting.set_aside:,} set aside"


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _mb(used: Any) -> str:
    return f"{used / 1e6:,.1f} MB" if isinstance(used, int) else "? MB"


def _us(taken_ns: float | None) -> str:
    return NOTHING if taken_ns is None else f"{taken_ns / 1000:,.0f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be: the first to the left, the others, which are numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )

"""The server goes away, hung or killed, and comes back, while one thread reads: what does a read take?

On a Valkey of its own, with the default time-outs. Hung is SIGSTOP, killed is SIGKILL. Each read of ours has the plain
ORM's read of the same row as its neighbour, on both databases. One outage in five rounds: each takes some seconds.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter_ns

from benchmarks.apart import valkey_apart
from benchmarks.ground import Ground, bare
from benchmarks.measure import Effort, spread
from benchmarks.models import Bare, Kept
from benchmarks.report import Figure, Target, amount
from benchmarks.servers import POSTGRESQL, SQLITE, WITHOUT_US
from django_cacheaside.engine.tally import Event
from django_cacheaside.orm.registry import registry
from example_project.embedded import EmbeddedValkey

NAMES = {SQLITE: "SQLite", POSTGRESQL: "PostgreSQL"}
READS = 1000
"""Of each reader while the circuit is open."""

ROUNDS_PER_OUTAGE = 5
PATIENCE_S = 10.0
"""How long the circuit may take to open, and a row to be served again, before the run fails; in seconds."""

LONGEST_MS, MOST_TIMES, BACK_MS = 250, 1.2, 2000

Read = Callable[[], object]
Fault = tuple[Callable[[EmbeddedValkey], object], Callable[[EmbeddedValkey], object]]

FAULTS: dict[str, Fault] = {
    "hung": (
        lambda valkey: _signal(valkey, signal.SIGSTOP),
        lambda valkey: _signal(valkey, signal.SIGCONT),
    ),
    "killed": (
        lambda valkey: _signal(valkey, signal.SIGKILL),
        lambda valkey: valkey.restart(),
    ),
}
"""How the server goes, and how it comes back."""


@dataclass(slots=True)
class Seen:
    """What the readers of one outage saw.

    Args:
        until_open_ms: Each read of ours until the circuit was open.
        open_us: By database, each read of ours while it was open.
        alone_us: By database, the plain ORM's, in turn with these.
        errors: What reads of ours raised.
        back_ms: From the server's answer until a row was served from it again.
    """

    until_open_ms: list[float] = field(default_factory=list)
    open_us: dict[str, list[float]] = field(default_factory=lambda: {alias: [] for alias in NAMES})
    alone_us: dict[str, list[float]] = field(default_factory=lambda: {alias: [] for alias in NAMES})
    errors: list[Exception] = field(default_factory=list)
    back_ms: float = 0.0


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Measure it: both ways to go away, as often."""
    logging.getLogger("django_cacheaside").addHandler(logging.NullHandler())  # its warnings would part the table
    outages = max(1, effort.rounds // ROUNDS_PER_OUTAGE)
    measured: list[Figure] = []
    for name, fault in FAULTS.items():
        with valkey_apart({"TTL": 86_400}) as valkey:
            seen = [_outage(valkey, fault, ground, effort) for _ in range(outages)]
        measured += _told(name, seen)
    return measured


def _outage(valkey: EmbeddedValkey, fault: Fault, ground: Ground, effort: Effort) -> Seen:
    go, come_back = fault
    seen, pks = Seen(), cycle(ground.batch)
    ours = {alias: _ours(alias, pks, seen.errors) for alias in NAMES}
    alone = {alias: _alone(alias, pks) for alias in NAMES}
    for alias in NAMES:
        _read_until(ours[alias], Event.HIT)
        alone[alias]()
    go(valkey)
    seen.until_open_ms = [took_us / 1000 for took_us in _read_until(ours[SQLITE], Event.CIRCUIT_OPEN)]
    for at in range(effort.times(READS)):
        for alias in NAMES:
            pair = ((ours[alias], seen.open_us[alias]), (alone[alias], seen.alone_us[alias]))
            for read, took_us in pair if at % 2 else reversed(pair):  # neither always comes after the other
                took_us.append(_time_us(read))
    come_back(valkey)
    start_ns = perf_counter_ns()
    _read_until(ours[SQLITE], Event.HIT)
    seen.back_ms = (perf_counter_ns() - start_ns) / 1e6
    return seen


def _ours(alias: str, pks: Iterator[int], errors: list[Exception]) -> Read:
    cached = Kept.cached.db_manager(alias)

    def read() -> None:
        try:
            cached.get(pk=next(pks))
        except Exception as error:  # noqa: BLE001  that none comes is what is measured
            errors.append(error)

    return read


def _alone(alias: str, pks: Iterator[int]) -> Read:
    objects = bare(Bare, WITHOUT_US[alias])
    return lambda: objects.get(pk=next(pks))


def _read_until(read: Read, event: Event) -> list[float]:
    """Read until a read counts as ``event``. Returns how long each of those before it took, in microseconds."""
    counts = registry.for_model(Kept).tally.counts
    before, deadline_ns = counts[event], perf_counter_ns() + PATIENCE_S * 1e9
    took_us: list[float] = []
    while perf_counter_ns() < deadline_ns:
        took_us.append(_time_us(read))
        if counts[event] > before:
            return took_us[:-1]
    raise TimeoutError(f"No read counted among the {event.value} within {PATIENCE_S} s")


def _time_us(read: Read) -> float:
    start_ns = perf_counter_ns()
    read()
    return (perf_counter_ns() - start_ns) / 1000


def _told(fault: str, seen: list[Seen]) -> list[Figure]:
    longest_ms = max((took_ms for one in seen for took_ms in one.until_open_ms), default=0.0)
    told = [
        amount("outage", f"{fault}: exceptions", [sum(len(one.errors) for one in seen)], "", most=0),
        amount("outage", f"{fault}: longest read until the circuit is open", [longest_ms], "ms", most=LONGEST_MS),
    ]
    for alias, database in NAMES.items():
        alone = f"{fault}: p99 of objects.get, {database}, without us"
        ours_us = [_p99(one.open_us[alias]) for one in seen]
        alone_us = [_p99(one.alone_us[alias]) for one in seen]
        times = spread([one_us / other_us for one_us, other_us in zip(ours_us, alone_us, strict=True)])
        told += [
            Figure("outage", alone, time_us=spread(alone_us)),
            Figure(
                "outage",
                f"{fault}: p99 of Model.cached.get, {database}, circuit open",
                time_us=spread(ours_us),
                floor=alone,
                ratio=times,
                target=Target(MOST_TIMES, of="ratio"),
            ),
        ]
    back_ms = max(one.back_ms for one in seen)
    return [*told, amount("outage", f"{fault}: back, until the first hit", [back_ms], "ms", most=BACK_MS)]


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def _signal(valkey: EmbeddedValkey, number: signal.Signals) -> None:
    assert valkey.pid is not None
    os.kill(valkey.pid, number)

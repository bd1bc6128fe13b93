"""Figures as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Literal

from redis import Redis

from benchmarks.measure import Effort, Spread, Timings, ratio, spread
from benchmarks.servers import Where

NAME_WIDTH = 58


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be: at most so many times the floor, microseconds, or of its unit; or exactly so many."""

    most: float
    of: Literal["ratio", "time", "amount", "count"]
    unit: str = ""

    def __str__(self) -> str:
        texts = {"ratio": "≤ {:g} ×", "time": "≤ {:g} µs", "amount": "≤ {:g} {}", "count": "{:g}"}
        return texts[self.of].format(self.most, self.unit).rstrip()


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: a time with its ratio to a floor, an amount of something else, or a number of round trips.

    Args:
        floor: What the ratio is taken to; None for the floor itself, for what has none, and for counts.
        time_us: One run, in microseconds.
        cpu_us: Of these, this thread's on a processor; None where others do the work.
        amount: What is no time of one run, in ``unit``.
        count: Round trips.
        detail: The commands that made them.
    """

    subject: str
    name: str
    time_us: Spread | None = None
    cpu_us: Spread | None = None
    floor: str | None = None
    ratio: Spread | None = None
    amount: Spread | None = None
    unit: str = ""
    count: int | None = None
    detail: str = ""
    target: Target | None = None

    @property
    def is_met(self) -> bool | None:
        """Is the target reached, by the median? None without one."""
        if self.target is None:
            return None
        if self.target.of == "count":
            return self.count == self.target.most
        measured = {"ratio": self.ratio, "time": self.time_us, "amount": self.amount}[self.target.of]
        return measured is not None and measured.median <= self.target.most


def timed(
    subject: str,
    timings: Timings,
    name: str,
    *,
    floor: str | None = None,
    target: Target | None = None,
    is_done_by_others: bool = False,
) -> Figure:
    """The figure of one contender, against another one of the same rounds; of others' work without processor time."""
    to_floor = None if floor is None else ratio(timings, name, floor)
    time_us = spread([took.time_us for took in timings[name]])
    cpu_us = None if is_done_by_others else spread([took.cpu_us for took in timings[name]])
    return Figure(subject, name, time_us=time_us, cpu_us=cpu_us, floor=floor, ratio=to_floor, target=target)


def amount(subject: str, name: str, values: Sequence[float], unit: str, *, most: float | None = None) -> Figure:
    """The figure of something in ``unit``: of each round, or one number, such as the largest of all rounds."""
    target = None if most is None else Target(most, of="amount", unit=unit)
    return Figure(subject, name, amount=spread(values), unit=unit, target=target)


def counted(subject: str, name: str, commands: Sequence[str], *, expected: int) -> Figure:
    """The figure of round trips that were counted."""
    return Figure(subject, name, count=len(commands), detail=", ".join(commands), target=Target(expected, of="count"))


def table(subject: str, figures: Sequence[Figure]) -> str:
    """The figures of one subject, a line each."""
    titles = f"{'median':>11} {'':<6}{'p25–p75':>16}{'CPU µs':>9}{'ratio':>9}{'p25–p75':>15}  {'target':<10}"
    head = f"{subject:<{NAME_WIDTH}}{titles}"
    return "\n".join([head, "─" * (len(head) + 8), *(_line(figure) for figure in figures)])


def _line(figure: Figure) -> str:
    time, cpu, to_floor = figure.time_us, figure.cpu_us, figure.ratio
    verdict = {None: "", True: "ok", False: "MISSED"}[figure.is_met]
    target = "" if figure.target is None else str(figure.target)
    if figure.amount is not None:
        measured = f"{figure.amount.median:>11.1f} {figure.unit:<6}{_range(figure.amount, 1):>16}{'':33}"
    elif time is None:
        measured = f"round trips: {figure.count} ({figure.detail})".rjust(67)
    else:
        measured = f"{time.median:>11.1f} {'µs':<6}{_range(time, 1):>16}{'' if cpu is None else f'{cpu.median:.1f}':>9}"
        measured += f"{to_floor.median:>7.2f} ×{_range(to_floor, 2):>15}" if to_floor else " " * 24
    return f"{figure.name:<{NAME_WIDTH}}{measured}  {target:<10} {verdict}".rstrip()


def _range(of: Spread, digits: int) -> str:
    return f"{of.p25:.{digits}f}–{of.p75:.{digits}f}"


def surroundings(where: Where, effort: Effort) -> str:
    """Where and with what the figures were measured."""
    with Redis.from_url(where.valkey_url) as client:
        server = client.info("server")
    named = ("django", "redis", "hiredis", "msgspec", "psycopg")
    versions = ", ".join(f"{name} {version(name)}" for name in named)
    return (
        f"Python {platform.python_version()}, {versions}; Valkey {server.get('valkey_version', '?')} on a unix socket; "
        f"one of {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; "
        f"{effort.rounds} rounds, seed {effort.seed}."
        + (" Quick: the figures mean nothing." if effort.is_quick else "")
    )


def as_json(about: str, effort: Effort, figures: Sequence[Figure]) -> str:
    """The same, for programs."""
    lines = [{**asdict(figure), "is_met": figure.is_met} for figure in figures]
    return json.dumps({"about": about, "effort": asdict(effort), "figures": lines}, indent=2, ensure_ascii=False) + "\n"

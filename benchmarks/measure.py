"""Timing in turn: A B C A B C …, so that whatever else the machine does meets all of them.

A ratio is taken within a round, between neighbours; what is reported is the median over the rounds and the middle half
(p25 to p75). A single time on a busy machine says little, a ratio of neighbours does. Beside the time that passed
stands the processor time of this thread, which knows neither the servers' work nor the waiting for it.

Note [One processor]: this process and its servers share one. Left alone, the scheduler wakes the server here in one
round and on another processor in the next: the same GET takes 33 or 85 µs, and a ratio to it is a matter of luck. The
lower of the two is the stricter floor.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from time import perf_counter_ns, thread_time_ns
from typing import Any

WARM_UP = 10
QUICK = 50


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    seed: int
    is_quick: bool

    def times(self, times: int) -> int:
        """How often something is done in one round."""
        return max(1, times // QUICK) if self.is_quick else times


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that is done many times in each round.

    Args:
        run: Does it once.
        times: How often a round does it: for about 20 ms, that is longer than a scheduler's slice.
        prepare: Called before each round, outside the timed part.
        around: Entered before the timed part, left after it.
        operations: How many of what is timed one run is: the time is that of one of them.
    """

    name: str
    run: Callable[[], object]
    times: int
    prepare: Callable[[], object] = lambda: None
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    operations: int = 1


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of what the rounds gave."""

    p25: float
    median: float
    p75: float


@dataclass(frozen=True, slots=True)
class Took:
    """One run in one round: microseconds on the clock, and of this thread on a processor."""

    time_us: float
    cpu_us: float


def stay_on_one_processor() -> None:
    """Keep this process, and those that it starts from now on, where they are. See Note [One processor]."""
    if hasattr(os, "sched_setaffinity"):  # on Linux
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


Timings = Mapping[str, Sequence[Took]]
"""By contender, round by round."""


def in_turn(contenders: Sequence[Contender], effort: Effort) -> Timings:
    """Time all contenders, one after the other, round after round; a first round is not counted."""
    timings: dict[str, list[Took]] = {contender.name: [] for contender in contenders}
    for at in range(effort.rounds + 1):
        for contender in contenders:
            took = _one_round(contender, effort)
            if at > 0:
                timings[contender.name].append(took)
    return timings


def _one_round(contender: Contender, effort: Effort) -> Took:
    run, times = contender.run, effort.times(contender.times)
    contender.prepare()
    with contender.around():
        for _ in range(max(1, times // WARM_UP)):  # the neighbour has left its own things in the processor's caches
            run()
        start_ns, cpu_start_ns = perf_counter_ns(), thread_time_ns()
        for _ in range(times):
            run()
        cpu_ns, took_ns = thread_time_ns() - cpu_start_ns, perf_counter_ns() - start_ns
    done = times * contender.operations
    return Took(took_ns / done / 1000, cpu_ns / done / 1000)


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratio(timings: Timings, name: str, floor: str) -> Spread:
    """How much longer one takes than another in the same round."""
    return spread([one.time_us / least.time_us for one, least in zip(timings[name], timings[floor], strict=True)])

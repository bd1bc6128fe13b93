"""What a person sees of the demo: progress while it runs, and the table after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from django.core.management.base import OutputWrapper

from airports.demo.judge import Stale
from airports.demo.run import Outcome

BAR = 32
WIDTH = 20


class Progress:
    """A bar on a terminal; elsewhere a line as a run begins."""

    def __init__(self, out: OutputWrapper, title: str, seconds: float) -> None:
        self._out = out
        self._title = title
        self._seconds = seconds
        self._is_live = out.isatty()
        if not self._is_live:
            out.write(f"{title}: {seconds:g} s ...")
            out.flush()

    def __call__(self, elapsed_s: float) -> None:
        """Show that ``elapsed_s`` of the run's seconds have passed."""
        if self._is_live:
            done = min(1.0, elapsed_s / self._seconds)
            bar = "█" * round(BAR * done)
            self._out.write(f"\r{self._title:<{WIDTH}} {bar:░<{BAR}} {min(elapsed_s, self._seconds):5.1f} s", ending="")
            self._out.flush()

    def end(self) -> None:
        """The run is over and judged."""
        if self._is_live:
            self._out.write("")


def table(outcomes: Sequence[Outcome]) -> str:
    """A column per run."""
    label_width = max(len(label) for label, _ in LINES)
    lines = [" " * label_width + "".join(f"{outcome.plan.title:>{WIDTH}}" for outcome in outcomes)]
    lines.append("─" * len(lines[0]))
    lines += [
        f"{label:<{label_width}}" + "".join(f"{figure(outcome):>{WIDTH}}" for outcome in outcomes)
        for label, figure in LINES
    ]
    return "\n".join(line.rstrip() for line in lines)


def in_words(stale: Stale) -> str:
    """A stale read, told."""
    read, missed = stale.read, stale.missed
    late_ms = (read.began_ns - missed.acknowledged_ns) / 1e6
    return (
        f"For example airport {read.pk}: version {missed.version} had been committed {late_ms:.1f} ms before a read "
        f"began that saw version {read.version}."
    )


def _per_second(durations: Callable[[Outcome], Iterable[int]]) -> Callable[[Outcome], str]:
    return lambda outcome: f"{len(list(durations(outcome))) / outcome.plan.seconds:,.0f}"


def _percentile(percent: int, durations: Callable[[Outcome], Iterable[int]]) -> Callable[[Outcome], str]:
    def figure(outcome: Outcome) -> str:
        in_order = sorted(durations(outcome))
        return f"{in_order[len(in_order) * percent // 100] / 1e6:.2f} ms" if in_order else "none"

    return figure


def _singles(outcome: Outcome) -> Iterator[int]:
    return (duration for one in outcome.reads for duration in one.single_ns)


def _batches(outcome: Outcome) -> Iterator[int]:
    return (duration for one in outcome.reads for duration in one.batch_ns)


def _writes(outcome: Outcome) -> Iterator[int]:
    return (duration for one in outcome.writes for duration in one.write_ns)


LINES: tuple[tuple[str, Callable[[Outcome], str]], ...] = (
    ("reads of one row, per second", _per_second(_singles)),
    ("    p50", _percentile(50, _singles)),
    ("    p99", _percentile(99, _singles)),
    ("reads of 20 rows, per second", _per_second(_batches)),
    ("    p50", _percentile(50, _batches)),
    ("    p99", _percentile(99, _batches)),
    ("writes, per second", _per_second(_writes)),
    ("    p50", _percentile(50, _writes)),
    ("    p99", _percentile(99, _writes)),
    ("rows read", lambda outcome: f"{outcome.verdict.reads:,}"),
    ("SELECTs by the readers", lambda outcome: f"{sum(one.selects for one in outcome.reads):,}"),
    ("rows from the cache", lambda outcome: f"{outcome.hit_ratio:.1%}"),
    ("bytes in the cache", lambda outcome: f"{outcome.cached_bytes:,}"),
    ("stale reads", lambda outcome: f"{outcome.verdict.stale:,}"),
)

"""How far a long command is: a bar on a terminal, a line every few seconds elsewhere, nothing where nobody asked."""

from __future__ import annotations

from datetime import timedelta

from django.core.management.base import OutputWrapper

from django_cacheaside.clock import Clock

BAR_S, LINE_S = 0.1, 5.0
"""Least seconds from one drawing to the next."""

WIDTH = 24
CLEAR = "\r\x1b[K"


class Progress:
    """Rows done, of how many, how fast, and for how long yet.

    Args:
        total: Rows to do; more may come or fewer, as others write meanwhile.
    """

    def __init__(self, out: OutputWrapper, clock: Clock, *, label: str, total: int) -> None:
        self._out = out
        self._clock = clock
        self._label = label
        self._total = total
        self._is_terminal = out.isatty()
        self._pause_s = BAR_S if self._is_terminal else LINE_S
        self._begun_s = clock.monotonic_s()
        self._next_s = self._begun_s + self._pause_s

    def show(self, done: int) -> None:
        """Draw, unless it is too early to draw again."""
        now_s = self._clock.monotonic_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._pause_s
        line = self.line(done, elapsed_s=now_s - self._begun_s)
        if self._is_terminal:
            self._out.write(CLEAR + line, ending="")
        else:
            self._out.write(line)
        self._out.flush()

    def line(self, done: int, *, elapsed_s: float) -> str:
        """What is drawn when ``done`` rows took ``elapsed_s`` seconds."""
        total = max(self._total, done)
        share = done / total if total else 1.0
        rate = done / elapsed_s if elapsed_s else 0.0
        left = str(timedelta(seconds=round((total - done) / rate))) if rate else "?"
        bar = f" [{'#' * int(share * WIDTH):·<{WIDTH}}]" if self._is_terminal else ":"
        return f"{self._label}{bar} {done:,}/{total:,} rows, {share:.0%}, {rate:,.0f} rows/s, {left} left"

    def end(self) -> None:
        """Take the bar away."""
        if self._is_terminal:
            self._out.write(CLEAR, ending="")
            self._out.flush()

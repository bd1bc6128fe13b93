"""What a run is to do, and which rows are popular."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

ZIPF_EXPONENT = 1.1
"""The row of rank r is drawn 1 / r ** 1.1 as often as the first: the hottest of 28,000 gets an eighth of all reads."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, as every process of it gets it.

    Args:
        title: Heads the run's column in the report.
        pks: Primary keys of all rows, the most popular first.
        writes_per_s: Of each writer, at most.
        is_cached: Read through ``Airport.cached``; otherwise through ``Airport.objects``.
        has_commit_work: Leave the library's work around commits and statements on the connections.
        directory: Where the histories go.
    """

    title: str
    pks: Sequence[int]
    seed: int
    seconds: float
    readers: int
    writers: int
    writes_per_s: float
    is_cached: bool
    has_commit_work: bool
    directory: Path


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part of a plan: it is the ``number``-th of its role, from 0."""

    plan: Plan
    role: str
    number: int

    @property
    def history(self) -> Path:
        """The file of this process's history."""
        return self.plan.directory / f"{self.role}-{self.number}"

    def random(self) -> Random:
        """Always the same numbers for the same seed and process."""
        return Random(f"{self.plan.seed} {self.role} {self.number}")


class Zipf:
    """Draws primary keys, the first of them most often."""

    def __init__(self, pks: Sequence[int], random: Random) -> None:
        self._pks = pks
        self._random = random
        self._weights = list(accumulate(1 / rank**ZIPF_EXPONENT for rank in range(1, len(pks) + 1)))

    def draw(self, count: int) -> list[int]:
        """``count`` primary keys, some perhaps more than once."""
        return self._random.choices(self._pks, cum_weights=self._weights, k=count)

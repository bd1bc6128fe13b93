"""One run: processes, histories, verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django_redis import get_redis_connection

from airports.demo.crew import Job, work_together
from airports.demo.history import recorded
from airports.demo.judge import Read, Verdict, Write, judge
from airports.demo.plan import Plan, Share
from airports.demo.workers import Reads, Writes
from airports.models import Airport


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run. ``cached_bytes`` is what the server's data set has grown by."""

    plan: Plan
    reads: list[Reads]
    writes: list[Writes]
    verdict: Verdict
    cached_bytes: int

    @property
    def hit_ratio(self) -> float:
        """Of all rows read, the part that the cache served."""
        return sum(one.hits for one in self.reads) / max(1, sum(one.rows for one in self.reads))


def run(plan: Plan, on_tick: Callable[[float], object]) -> Outcome:
    """Carry a plan out and judge it. ``on_tick``: see ``work_together``."""
    plan.directory.mkdir()
    readers = [Share(plan, "read", number) for number in range(plan.readers)]
    writers = [Share(plan, "write", number) for number in range(plan.writers)]
    empty_bytes = _dataset_bytes()
    if plan.is_cached:
        Airport.cached.in_bulk(plan.pks)  # a warm cache: then what is missed is what was written
    jobs = [Job(f"airports.demo.workers.{share.role}", share) for share in (*readers, *writers)]
    results = work_together(jobs, on_tick)
    cached_bytes = max(0, _dataset_bytes() - empty_bytes)
    verdict = judge(map(Write._make, _facts(writers)), map(Read._make, _facts(readers)))
    return Outcome(plan, results[: plan.readers], results[plan.readers :], verdict, cached_bytes)


def _facts(shares: list[Share]) -> Iterator[tuple[int, int, int]]:
    for share in shares:
        yield from recorded(share.history)


def _dataset_bytes() -> int:
    return int(get_redis_connection("default").info("memory")["used_memory_dataset"])

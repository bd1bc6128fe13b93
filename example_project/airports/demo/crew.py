"""Processes that begin at the same moment and each bring back a result.

Spawned, not forked: no connection is shared, and it works on every system. A child talks to its parent through one
pipe: "ready", then the start, then its result. A pipe that ends tells either that the other is gone; so nobody waits
for the dead, and nobody outlives the parent for longer than a run.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Any

import django
from django.utils.module_loading import import_string

TICK_S = 0.1


class CrewError(RuntimeError):
    """A process ended before it had a result; what it had to say stands above."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a process does.

    Args:
        work: The dotted path of a function of ``argument`` and ``wait_for_start``: it prepares, waits for the start,
            which it gets in ``monotonic_ns``, works and returns its result. Imported when Django is ready.
        argument: Anything that can be pickled.
    """

    work: str
    argument: Any


def work_together(jobs: Sequence[Job], on_tick: Callable[[float], object]) -> list[Any]:
    """Do each job in a process of its own, and return their results in the order of the jobs.

    Args:
        on_tick: Called about every 0.1 s with the seconds since the start.

    Raises:
        CrewError: A process failed. The others are ended.
    """
    with ExitStack() as lifetime:
        pipes = [lifetime.enter_context(_started(job)) for job in jobs]
        for pipe in pipes:
            _receive(pipe)
        start_ns = time.monotonic_ns() + 50_000_000
        for pipe in pipes:
            pipe.send(start_ns)
        results: dict[Connection, Any] = {}
        while len(results) < len(pipes):
            ready = connection.wait([pipe for pipe in pipes if pipe not in results], timeout=TICK_S)
            results.update((pipe, _receive(pipe)) for pipe in pipes if pipe in ready)
            on_tick(max(0.0, (time.monotonic_ns() - start_ns) / 1e9))
        return [results[pipe] for pipe in pipes]


@contextmanager
def _started(job: Job) -> Iterator[Connection]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_live, args=(theirs, job), daemon=True)
    process.start()
    theirs.close()  # the child's copy is the last one: its end is the end of the pipe
    try:
        with ours:
            yield ours
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()


def _receive(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError):
        raise CrewError("One of the demo's processes failed.") from None


def _live(pipe: Connection, job: Job) -> None:
    """The whole life of a child. It fails as any process does: with a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    django.setup()
    work: Callable[[Any, Callable[[], int]], Any] = import_string(job.work)

    def wait_for_start() -> int:
        pipe.send("ready")
        start_ns: int = pipe.recv()
        time.sleep(max(0, start_ns - time.monotonic_ns()) / 1e9)
        return start_ns

    with suppress(EOFError, BrokenPipeError):  # the parent is gone
        pipe.send(work(job.argument, wait_for_start))

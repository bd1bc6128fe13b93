"""What a process is asked to do that reads under load: many threads at once, loads slowed, counted, held or broken.

A load is counted where it is sent to the database: each SELECT of the one table.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from django.db import OperationalError, connections

from django_cacheaside import failpoints
from django_cacheaside.orm import runtime
from django_cacheaside.orm.background import Background
from django_cacheaside.orm.registry import registry
from tests.app.models import Product

DEADLINE_S = 20.0


class Answer(NamedTuple):
    """What one reader got, and when it had it."""

    version: int | str
    """Of the row; or the type and the text of what was raised."""
    waited_s: float


class _Loads:
    """The SELECTs of this process's loads: how many, how many at once; each slowed, or failing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begun = 0
        self.at_once = 0
        self.most_at_once = 0
        self.pause_s = 0.0
        self.error: Exception | None = None

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if not (
            str(sql).startswith("SELECT") and "app_product" in str(sql)
        ):  # Django asks for types of a new connection
            return execute(sql, params, many, context)
        with self._lock:
            self.begun += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self.pause_s)  # the load that is slow, not a test that waits
            if self.error is not None:
                raise self.error
            return execute(sql, params, many, context)
        finally:
            with self._lock:
                self.at_once -= 1


_loads = _Loads()


def _read(pk: int, start: threading.Barrier) -> Answer:
    with connections["default"].execute_wrapper(_loads):
        try:
            start.wait(DEADLINE_S)
            began_s = time.monotonic()
            try:
                version: int | str = int(Product.cached.get(pk=pk).version)
            except Exception as error:
                version = f"{type(error).__name__}{error.args}"
            return Answer(version, time.monotonic() - began_s)
        finally:
            connections.close_all()


def stampede(
    pks: list[int], threads: int, *, pause_s: float, at_s: float = 0.0, error: Exception | None = None
) -> tuple[list[Answer], int, int]:
    """Read with many threads at once, in turn each of the rows.

    Args:
        pause_s: How long each load takes.
        at_s: When to begin, by the clock that all processes share.
        error: What each load raises.

    Returns:
        What the readers got, how many loads began, and how many were under way at once.
    """
    _loads.__init__()  # type: ignore[misc]
    _loads.pause_s, _loads.error = pause_s, error
    start = threading.Barrier(threads + 1)
    with ThreadPoolExecutor(threads) as pool:
        reading = [pool.submit(_read, pks[at % len(pks)], start) for at in range(threads)]
        time.sleep(max(0.0, at_s - time.monotonic()))
        start.wait(DEADLINE_S)
        answers = [one.result(DEADLINE_S) for one in reading]
    return answers, _loads.begun, _loads.most_at_once


def stampede_of_coroutines(pk: int, coroutines: int) -> tuple[list[int], int]:
    """``aget`` many times at once. Returns the versions and how many loads there were."""

    async def read_all() -> list[int]:
        rows = await asyncio.gather(*(Product.cached.aget(pk=pk) for _ in range(coroutines)))
        return [int(row.version) for row in rows]

    before = counts()["loads"] + counts()["database reads"]
    versions = asyncio.run(read_all())
    return versions, counts()["loads"] + counts()["database reads"] - before


def warm_up(pk: int) -> int:
    """Connections, scripts and what is compiled once. Returns the row's version."""
    return int(Product.cached.get(pk=pk).version)


def hold_and_read(pk: int) -> int:
    """One read that may be held at failpoints, or killed there."""
    return int(Product.cached.get(pk=pk).version)


def fail_to_read(pk: int) -> str:
    """One read, whose load fails. Returns what it raised."""
    _loads.__init__()  # type: ignore[misc]
    _loads.error = OperationalError("the database is in trouble", 7)
    with connections["default"].execute_wrapper(_loads):
        try:
            return str(Product.cached.get(pk=pk).version)
        except OperationalError as error:
            return f"{type(error).__name__}{error.args}"


def timed_read(pk: int) -> Answer:
    """One read that may be held at failpoints."""
    began_s = time.monotonic()
    return Answer(int(Product.cached.get(pk=pk).version), time.monotonic() - began_s)


def read_and_count(pk: int) -> tuple[int, int]:
    """One read: the version, and how many SELECTs of its own it made."""
    _loads.__init__()  # type: ignore[misc]
    with connections["default"].execute_wrapper(_loads):
        return int(Product.cached.get(pk=pk).version), _loads.begun


def open_circuit() -> None:
    """The server counts as away, for as long as this process lives."""
    breaker = runtime.current().breaker
    breaker._retry_s = breaker._settle_s = 3600.0
    breaker.open("a test says so")


def counts() -> dict[str, int]:
    """What this process has counted of products."""
    return {event.value: count for event, count in registry.for_model(Product).tally.counts.items()}


# --- the background --------------------------------------------------------------------------------------------------


def background_threads() -> int:
    """How many of ours run here."""
    return sum(thread.name == "cacheaside-refresh" for thread in threading.enumerate())


def backends() -> int:
    """How many connections this process has to PostgreSQL, this one's included."""
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
            [f"part {os.getpid()}"],
        )
        return int(cursor.fetchone()[0])


def name_connections() -> None:
    """From now on this process's connections can be told from others'."""
    options = connections.settings["default"].setdefault("OPTIONS", {})
    connections.settings["default"]["OPTIONS"] = {**options, "application_name": f"part {os.getpid()}"}
    connections["default"].close()
    connections["default"].settings_dict["OPTIONS"] = connections.settings["default"]["OPTIONS"]


def forbid_autocommit() -> None:
    """Every statement of this process opens a transaction that goes on until it is ended."""
    connections.settings["default"]["AUTOCOMMIT"] = False
    connections["default"].close()
    connections["default"].settings_dict["AUTOCOMMIT"] = False


def refresh_on_write() -> None:
    """``on_write = "refresh"`` for products, of which this process has not read any yet."""
    registration = registry.for_model(Product)
    object.__setattr__(registration.options, "refreshes_on_write", True)


def hold_background_at(name: str) -> None:
    """Threads of ours stop at this failpoint until ``let_background_go``."""
    _may_go.clear()

    def stop() -> None:
        if threading.current_thread().name == "cacheaside-refresh" and not _may_go.wait(DEADLINE_S):
            raise TimeoutError(f"nobody let {name} go")

    failpoints._armed[name] = stop


_may_go = threading.Event()


def let_background_go() -> None:
    _may_go.set()


def fork_and_read(pk: int) -> tuple[int, int, bool]:
    """Fork, and read a stale row in the child: what it saw first, its SELECTs, and whether it saw a newer one later."""
    ours, theirs = os.pipe()
    connections.close_all()  # of this thread
    child = os.fork()
    if child == 0:
        status = 1
        try:
            failpoints._armed.clear()
            version, selects = read_and_count(pk)
            end_s = time.monotonic() + DEADLINE_S
            while hold_and_read(pk) == version and time.monotonic() < end_s:
                time.sleep(0.005)
            is_new = hold_and_read(pk) != version
            os.write(theirs, f"{version} {selects} {int(is_new)}".encode())
            status = 0
        finally:
            os._exit(status)
    os.close(theirs)
    with open(ours, "rb") as answer:
        told = answer.read().split()
    os.waitpid(child, 0)
    version, selects, is_new = map(int, told)
    return version, selects, bool(is_new)


def is_background_idle() -> bool:
    """Has it neither tasks nor threads?"""
    background: Background = runtime.current().background
    return background._waiting.empty() and background_threads() == 0

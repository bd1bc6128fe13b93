"""What a forked process is asked to do: to read on and on, to write, and to hold where the test says.

Reads and commits run on threads of their own where they go on, so that the process can be asked about them meanwhile.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.apps import apps
from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import Model
from django.test import override_settings

from django_cacheaside import failpoints
from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from tests.faults.judge import FOREVER_S, Commit, Read
from tests.races import mutants

PAUSE_S = 0.0002
"""Between two reads, so that a reader leaves something of the machine to the others."""

BATCH_EVERY = 8
"""One read of so many is of all rows at once."""

POINTS = (
    "before-intent",
    "after-intent",
    "before-commit",
    "after-commit",
    "after-failure",
    "after-release",
    "before-acquire",
    "before-load",
    "before-fill",
    "after-fill",
)

_hold: Callable[[float], None] = lambda at_s: None  # noqa: E731  set before anything is asked
_stops: list[str] = []
_times = threading.local()


def on_hold(hold: Callable[[float], None]) -> None:
    """Who tells the test that this process is held, and waits for its word."""
    global _hold
    _hold = hold
    for name in POINTS:
        failpoints._armed[name] = lambda name=name: _reach(name)  # type: ignore[misc]


def hold_at(stops: list[str]) -> None:
    """Stop at these failpoints, one after the other."""
    _stops[:] = stops


def _reached() -> dict[str, float]:
    """When this thread came to which failpoint last."""
    times: dict[str, float] = _times.__dict__.setdefault("reached", {})
    return times


def _reach(name: str) -> None:
    at_s = _reached()[name] = time.monotonic()
    if _stops[:1] == [name] and threading.current_thread() is threading.main_thread():
        _stops.pop(0)
        _hold(at_s)


# --- what everybody begins with --------------------------------------------------------------------------------------


def settle(redis_url: str, *, pg_host: str | None, options: dict[str, Any], cacheaside: dict[str, Any]) -> None:
    """Take these servers, and these settings, before anything is used."""
    from django.conf import settings

    if pg_host is not None:
        connections.settings["default"].update(HOST=pg_host, PORT="")
    alias = {**settings.CACHES["default"], "LOCATION": redis_url, "OPTIONS": options}
    override_settings(CACHES={"default": alias}, CACHEASIDE={"CACHE": "default", **cacheaside}).enable()


_lost: list[Any] = []


def lose(guard: str) -> None:
    """Go on without a guard: one of ``races.mutants``, until the process ends."""
    without = getattr(mutants, guard)()
    without.__enter__()
    _lost.append(without)  # its end would bring the guard back


def _model(label: str) -> Any:
    return apps.get_model("app", label)


# --- reading ---------------------------------------------------------------------------------------------------------


class _Reader(threading.Thread):
    """Reads the rows in turn, until it is stopped."""

    def __init__(self, model: type[Model], pks: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self.is_stopped = threading.Event()
        self.reads: list[Read] = []
        self.error: BaseException | None = None
        self._model: Any = model
        self._pks = pks
        self._counts = registry.for_model(model).tally.counts

    def run(self) -> None:
        try:
            for turn in itertools.count():
                if self.is_stopped.is_set():
                    return
                if turn % BATCH_EVERY == 0:
                    self._read(self._pks, self._all)
                else:
                    self._read([self._pks[turn % len(self._pks)]], self._one)
                time.sleep(PAUSE_S)
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def _read(self, pks: Sequence[int], versions: Callable[[Sequence[int]], list[int]]) -> None:
        hits = self._counts[Event.HIT]
        began_s = time.monotonic()
        seen = versions(pks)
        ended_s = time.monotonic()
        is_hit = self._counts[Event.HIT] == hits + len(pks)
        self.reads += [Read(began_s, ended_s, pk, version, is_hit) for pk, version in zip(pks, seen, strict=True)]

    def _one(self, pks: Sequence[int]) -> list[int]:
        try:
            return [self._model.cached.get(pk=pks[0]).version]
        except self._model.DoesNotExist:
            return [-1]

    def _all(self, pks: Sequence[int]) -> list[int]:
        found = self._model.cached.in_bulk(pks)
        return [found[pk].version if pk in found else -1 for pk in pks]


_readers: list[_Reader] = []


def read_on(label: str, pks: Sequence[int]) -> None:
    """Begin to read."""
    reader = _Reader(_model(label), pks)
    _readers.append(reader)
    reader.start()


def reads_made() -> int:
    """How many reads there are so far."""
    (reader,) = _readers
    if reader.error is not None:
        raise reader.error
    return len(reader.reads)


def last_reads(pk: int) -> list[Read]:
    """The last reads of a row, some of the last fifty of all."""
    (reader,) = _readers
    if reader.error is not None:
        raise reader.error
    return [read for read in reader.reads[-50:] if read.pk == pk]


def stop_reading() -> list[Read]:
    """End, and hand over all that was read."""
    reader = _readers.pop()
    reader.is_stopped.set()
    reader.join()
    if reader.error is not None:
        raise reader.error
    return reader.reads


def read_one(label: str, pk: int) -> int:
    """One read. It can be held at failpoints."""
    return int(_model(label).cached.get(pk=pk).version)


class _Observer(threading.Thread):
    """Notes when it first sees each version of a row in the database."""

    def __init__(self, model: Any, pk: int) -> None:
        super().__init__(daemon=True)
        self.is_stopped = threading.Event()
        self.commits: list[Commit] = []
        self._rows = model.objects.filter(pk=pk).values_list("version", flat=True)
        self._pk = pk

    def run(self) -> None:
        try:
            last = -1
            while not self.is_stopped.wait(0.001):
                version = self._rows.get()
                if version != last:
                    self.commits.append(Commit(self._pk, version, time.monotonic()))
                    last = version
        finally:
            connections.close_all()


_observers: list[_Observer] = []


def observe_on(label: str, pk: int) -> None:
    """Begin to look."""
    observer = _Observer(_model(label), pk)
    _observers.append(observer)
    observer.start()


def stop_observing() -> list[Commit]:
    """End, and hand over which versions were there, and since when."""
    observer = _observers.pop()
    observer.is_stopped.set()
    observer.join()
    return observer.commits


# --- writing ---------------------------------------------------------------------------------------------------------


def write(label: str, pk: int, version: int, how: str = "in atomic", alias: str = "default") -> Commit | str:
    """Write one row: its commit, ``"lost"`` if nobody knows whether it happened, ``"refused"`` if it surely did not.

    Args:
        how: "in atomic", "in autocommit", or "of unknown rows".
    """
    invalidator = runtime.current().invalidator
    reached, before = _reached(), dict(invalidator.tally.counts)
    reached.clear()
    try:
        _write(_model(label), pk, version, how, alias)
    except IntegrityError:
        return "refused"
    except DatabaseError:
        return "lost"
    counts = invalidator.tally.counts
    is_guarded = all(counts[one] == before[one] for one in (Event.MISSING_INTENT, Event.LOST_INVALIDATION))
    now_s = time.monotonic()
    told_s = FOREVER_S if invalidator.owes() else reached.get("after-release", now_s)
    return Commit(pk, version, reached.get("after-commit", now_s), is_guarded, told_s)


def _write(model: Any, pk: int, version: int, how: str, alias: str = "default") -> None:
    rows = model.objects.using(alias)
    if how == "in atomic":
        with transaction.atomic(using=alias):
            rows.filter(pk=pk).update(version=version)
    elif how == "in autocommit":
        rows.filter(pk=pk).update(version=version)
    elif how == "of unknown rows":
        rows.filter(version__lt=version).update(version=version)
    else:
        raise LookupError(how)


def write_two_models(product: int, bay: int, version: int) -> None:
    """One transaction over two models: its release is two scripts."""
    with transaction.atomic():
        _write(_model("Product"), product, version, "in autocommit")
        _write(_model("Bay"), bay, version, "in autocommit")


def break_constraint(crate: int, absent: int) -> str:
    """A COMMIT that PostgreSQL refuses: the crate would stand in a bay that does not exist."""
    try:
        with transaction.atomic():
            _model("Crate").objects.filter(pk=crate).update(version=-7, bay_id=absent)
    except IntegrityError:
        return "refused"
    return "committed"


class _Writer(threading.Thread):
    """Raises the rows' versions in turn, until it is stopped."""

    def __init__(self, label: str, pks: Sequence[int], every_s: float, first: int) -> None:
        super().__init__(daemon=True)
        self.is_stopped = threading.Event()
        self.commits: list[Commit] = []
        self.error: BaseException | None = None
        self._label = label
        self._pks = pks
        self._every_s = every_s
        self._first = first
        self._untold: list[int] = []

    def run(self) -> None:
        try:
            for version in itertools.count(self._first):
                if self.is_stopped.wait(self._every_s):
                    return
                for pk in self._pks:
                    self._write(pk, version)
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def _write(self, pk: int, version: int) -> None:
        commit = write(self._label, pk, version, "in atomic" if version % 2 else "in autocommit")
        if isinstance(commit, str):
            raise TypeError(f"version {version} of {pk} is {commit}")
        self.commits.append(commit)
        if commit.told_s == FOREVER_S:
            self._untold.append(len(self.commits) - 1)
        else:
            self.note_told()

    def note_told(self) -> None:
        """Nothing is owed any more: whatever was not told is told by now."""
        for at in self._untold:
            self.commits[at] = self.commits[at]._replace(told_s=time.monotonic())
        self._untold.clear()


_writers: list[_Writer] = []


def write_on(label: str, pks: Sequence[int], *, every_s: float, threads: int = 1, first: int = 1) -> None:
    """Begin to write the versions from ``first`` on. Several threads share the rows out."""
    for thread in range(threads):
        writer = _Writer(label, pks[thread::threads], every_s, first)
        _writers.append(writer)
        writer.start()


def retry_every(seconds: float) -> None:
    """This process tries the server only so long after it has failed, and waits for others that do so, too."""
    breaker = runtime.current().breaker
    breaker._settle_s *= seconds / breaker._retry_s
    breaker._retry_s = seconds


def next_probe_s() -> float:
    """In how many seconds this process tries the server again."""
    return runtime.current().breaker._probe_at_s - time.monotonic()


def writes_made() -> int:
    """How many commits there are so far."""
    for writer in _writers:
        if writer.error is not None:
            raise writer.error
    return sum(len(writer.commits) for writer in _writers)


def stop_writing(limit_s: float) -> list[Commit]:
    """End, see to it that the server is told of everything, and hand over what was committed, the newest last."""
    for writer in _writers:
        writer.is_stopped.set()
    for writer in _writers:
        writer.join()
    writes_made()
    if tell(limit_s):
        for writer in _writers:
            writer.note_told()
    return sorted((commit for writer in _writers for commit in writer.commits), key=lambda commit: commit.acked_s)


def tell(limit_s: float) -> float | None:
    """Try the server as requests do, until nothing is owed. Returns since when it knows, None if it does not."""
    invalidator = runtime.current().invalidator
    end_s = time.monotonic() + limit_s
    while not (invalidator.breaker.lets_through() and not invalidator.owes()):
        if time.monotonic() > end_s:
            return None
        time.sleep(0.005)
    return time.monotonic()


def occupy_connections() -> None:
    """All of the pool's connections are in use by others, who don't come back before ``free_connections``."""
    pool = runtime.current().store._pool
    while len(_occupied) < pool._limit:
        _occupied.append(pool.take())


def free_connections() -> None:
    """They come back."""
    while _occupied:
        runtime.current().store._pool.give(_occupied.pop())


_occupied: list[Any] = []


def is_circuit_open() -> bool:
    """Does this process go past the server?"""
    return runtime.current().invalidator.breaker.is_open

"""One fault: who takes part, when it began and ended, and what everybody saw meanwhile.

    pk = scene.row()
    scene.reader()
    writer = scene.writer()
    scene.begin()                          readers read on and on, and are served from the cache
    scene.fault(); writer.kill()           ...
    scene.until_cached(pk, 1)              it is served from the cache again, and new
    scene.heal()                           once each reader has made its reads
    scene.judge(NEVER)                     the table's bound

Nothing sleeps as a barrier: whoever waits asks again and again, until a deadline.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
from django.db import connections
from typing_extensions import Self

from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from example_project.embedded import EmbeddedValkey
from tests.app.models import Bay, Crate, Product
from tests.faults import parts
from tests.faults.judge import Bound, Commit, Read, Verdict, judge
from tests.faults.nursery import Nursery, Part
from tests.faults.proxy import Proxy

INTENT_S = 1.2
"""How long a dead writer's intents stand here: the longest that a scenario has to wait for."""

CACHEASIDE = {
    "INTENT": INTENT_S,
    "LEASE": 0.5,
    "WAIT": 0.1,
    "TIMEOUT": 0.25,
    "CONNECT_TIMEOUT": 0.25,
    "RELAY_INTERVAL": 0.2,
}

RELAYED_S = 3.0
"""Within how many seconds the journal is relayed here: the interval, the lease of a relay that died (1 s), and what a
busy machine takes."""

READS_UNDER_WAY = 20
"""More than a reader may have counted before the fault and end after it."""

PATIENT: dict[str, Any] = {"INTENT": 10, "TIMEOUT": 2, "CONNECT_TIMEOUT": 2}
"""For a writer whose server is well: it loses no intent because the machine is busy."""

READS = 1000
"""How many reads each reader makes at least between fault and heal."""

DEADLINE_S = 30.0
"""How long a test waits for what must come, in seconds."""

CONTROL_S = 5.0
"""The same in a control, where the new row may never come: longer than circuits settle."""

RECOVERY_S = 15.0
"""How long a writer may take to reach the server again, in seconds."""

WARM_READS = 200
"""How many reads each reader makes at least before the fault."""

MODELS = {"Product": Product, "Crate": Crate, "Bay": Bay}


class SceneError(Exception):
    """What was waited for never came: not an ``AssertionError``, so that no mutant can pass by it."""


@dataclass(frozen=True)
class Figures:
    """Of one scenario, for the report."""

    readers: int
    reads: int
    reads_between: int
    hit_ratio: float
    stale: int
    excused: int
    fault_s: float


def until(is_true: Callable[[], object], what: str, limit_s: float = DEADLINE_S, *, pause_s: float = 0.01) -> None:
    """Ask until it is true."""
    end_s = time.monotonic() + limit_s
    while not is_true():
        if time.monotonic() > end_s:
            raise SceneError(f"not within {limit_s:g} s: {what}")
        time.sleep(pause_s)


class Scene:
    """A context manager, at whose end nobody is left behind.

    Args:
        nursery: Forks those who take part.
        valkey: Their server, to be killed.
        lose: The guard (of ``races.mutants``) that everybody goes on without, and without a relay; for controls.
    """

    def __init__(self, nursery: Nursery, valkey: EmbeddedValkey, *, lose: str | None = None) -> None:
        self.valkey = valkey
        self.commits: list[Commit] = []
        self.figures: Figures | None = None
        self.verdict: Verdict | None = None
        self._nursery = nursery
        self._lose = lose
        self._patience_s = DEADLINE_S if lose is None else CONTROL_S
        self._readers: list[tuple[str, Part]] = []
        self._rows: dict[str, list[int]] = {}
        self._stack = ExitStack()
        self._names = itertools.count()
        self._fault_s = self._heal_s = 0.0

    def __enter__(self) -> Self:
        directory = tempfile.TemporaryDirectory(prefix="cas-", dir="/tmp")
        self._directory = Path(self._stack.enter_context(directory))
        self._directory.chmod(0o755)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    # --- who takes part ----------------------------------------------------------------------------------------------

    def row(self, model: str = "Product", **fields: Any) -> int:
        """A row of version 0, which all readers read."""
        pk = int(MODELS[model]._default_manager.create(version=0, **fields).pk)
        self._rows.setdefault(model, []).append(pk)
        return pk

    def part(
        self,
        *,
        redis_url: str | None = None,
        pg: Proxy | None = None,
        options: dict[str, Any] | None = None,
        **cacheaside: Any,
    ) -> Part:
        """A process.

        Args:
            redis_url: How it reaches the server, if not directly.
            pg: How it reaches PostgreSQL, if not directly.
            options: Of its cache alias, as ``CONNECTION_POOL_KWARGS``.
            cacheaside: Other settings than ``CACHEASIDE``'s.
        """
        part = self._nursery.fork()
        self._stack.callback(part.close)
        if self._lose is not None:
            cacheaside["RELAY_INTERVAL"] = None
        part(
            parts.settle,
            redis_url or self.valkey.url,
            pg_host=None if pg is None else str(Path(str(pg.address)).parent),
            options=options or {},
            cacheaside={**CACHEASIDE, **cacheaside},
        )
        if self._lose is not None:
            part(parts.lose, self._lose)
        return part

    def reader(self, model: str = "Product", **how: Any) -> Part:
        """A process that reads all rows, from ``begin`` on."""
        reader = self.part(**how)
        self._readers.append((model, reader))
        reader(parts.read_on, model, self._rows[model])
        return reader

    def observer(self, model: str, pk: int) -> Part:
        """A process that looks into the database on and on: a version that it has seen is committed."""
        observer = self.part()
        observer(parts.observe_on, model, pk)
        return observer

    def redis_proxy(self) -> tuple[Proxy, str]:
        """A line to the server, and its address for one process."""
        proxy = self._proxy("redis", str(Path(str(self.valkey.directory)) / "socket"))
        return proxy, f"unix://{proxy.address}?db=0"

    def pg_proxy(self) -> Proxy:
        """A line to PostgreSQL, for one process."""
        where = connections["default"].settings_dict
        host, port = str(where["HOST"]), int(where["PORT"] or 5432)
        return self._proxy(".s.PGSQL.5432", f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port))

    def _proxy(self, name: str, upstream: Any) -> Proxy:
        directory = self._directory / str(next(self._names))
        directory.mkdir()
        return self._stack.enter_context(Proxy(str(directory / name), upstream))

    def enter(self, context: Any) -> Any:
        """Something that ends with the scene."""
        return self._stack.enter_context(context)

    def server(self) -> redis.Redis:
        """The server, past everything; over one connection."""
        client = redis.Redis.from_url(self.valkey.url, socket_timeout=5, single_connection_client=True)
        self._stack.callback(client.close)
        return client

    def busy(self, **how: Any) -> Part:
        """Two rows that one process writes on and on, and two read; most of the time they are served from the cache."""
        pks = [self.row(), self.row()]
        self.reader()
        self.reader()
        writer = self.part(**how)
        self.begin()
        writer(parts.write_on, "Product", pks, every_s=0.03)
        until(lambda: writer(parts.writes_made) >= 10, "10 commits")
        return writer

    def settled(self, writer: Part) -> list[Commit]:
        """Everything is over: the writer ends, and the last versions are served from the cache."""
        commits: list[Commit] = writer(parts.stop_writing, RECOVERY_S)
        for pk, version in {commit.pk: commit.version for commit in commits}.items():
            self.until_cached(pk, version)
        return commits

    # --- what happens ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Until every reader has made its reads, and the last of them were hits."""
        self._until_read(WARM_READS)
        for pks in self._rows.values():
            for pk in pks:
                self.until_cached(pk, 0)

    def fault(self) -> float:
        """Now it begins. Returns the time."""
        self._made = [reader(parts.reads_made) for _, reader in self._readers]
        self._fault_s = time.monotonic()
        return self._fault_s

    @staticmethod
    def now_s() -> float:
        """By the clock that all processes share."""
        return time.monotonic()

    def heal(self, *, reads: int = READS) -> float:
        """It ends as soon as every reader has made its reads. Returns the time."""
        self._until_read(reads + READS_UNDER_WAY, self._made)
        self._heal_s = time.monotonic()
        return self._heal_s

    def go_on_reading(self, reads: int) -> None:
        """Until every reader has made so many more reads."""
        self._until_read(reads, [reader(parts.reads_made) for _, reader in self._readers])

    def _until_read(self, reads: int, since: Sequence[int] | None = None) -> None:
        for (_, reader), made in zip(self._readers, since or [0] * len(self._readers), strict=True):
            until(lambda: reader(parts.reads_made) >= made + reads, f"{reads} reads")  # noqa: B023  called at once

    def until_cached(self, pk: int, version: int) -> None:
        """Until all its readers are served the row from the cache, and of this version or a newer one.

        In a control of whatever version: then the readers are judged all the same.
        """
        asked_s = time.monotonic()

        def is_cached(reader: Part) -> bool:
            last: list[Read] = reader(parts.last_reads, pk)
            is_hit = bool(last) and last[-1].began_s > asked_s and last[-1].is_hit
            return is_hit and (self._lose is not None or last[-1].version >= version)

        for model, reader in self._readers:
            if pk in self._rows[model]:
                try:
                    until(lambda: is_cached(reader), f"version {version} of {pk} is a hit", self._patience_s)  # noqa: B023
                except SceneError:
                    if self._lose is None:
                        raise
        if self._lose is not None:
            self.go_on_reading(READS // 10)

    @property
    def readers(self) -> list[Part]:
        """All of them."""
        return [reader for _, reader in self._readers]

    def committed(self, pk: int, version: int, at_s: float | None = None, **kind: Any) -> Commit:
        """Somebody was acknowledged this commit; now, if no time is given."""
        commit = Commit(pk, version, time.monotonic() if at_s is None else at_s, **kind)
        self.commits.append(commit)
        return commit

    def entry_key(self, pk: int) -> str:
        """Where the server holds a product."""
        return runtime.current().place(registry.for_model(Product), connections["default"]).space.entry(str(pk))

    def stored(self, pk: int, model: str = "Product") -> int:
        """What the database holds."""
        return int(MODELS[model]._default_manager.values_list("version", flat=True).get(pk=pk))

    def until_stored(self, pk: int, version: int, model: str = "Product") -> None:
        """Until somebody's commit is seen, which counts as its acknowledgement."""
        until(lambda: self.stored(pk, model) == version, f"version {version} of {pk} is committed")

    # --- what was seen -----------------------------------------------------------------------------------------------

    def judge(self, bound: Bound, *, commits: Sequence[Commit] = ()) -> Verdict:
        """Have the readers end, and hold what they saw against the bound."""
        reads: list[list[Read]] = [reader(parts.stop_reading) for _, reader in self._readers]
        verdict = judge(reads, [*self.commits, *commits], bound, fault_s=self._fault_s, heal_s=self._heal_s)
        self.verdict = verdict
        self.figures = Figures(
            len(self._readers),
            verdict.reads,
            min(verdict.reads_between),
            verdict.hit_ratio,
            len(verdict.stale),
            len(verdict.excused),
            self._heal_s - self._fault_s,
        )
        if verdict.hit_ratio < 0.5:
            raise SceneError(f"before the fault only {verdict.hit_ratio:.0%} were hits")
        if min(verdict.reads_between) < READS:
            raise SceneError(f"between fault and heal there were {verdict.reads_between} reads")
        told = [
            f"version {read.version} of {read.pk}, {'a hit' if read.is_hit else 'from the database'}, "
            f"{read.began_s - self._fault_s:+.3f} s from the fault"
            for read in verdict.stale
        ]
        assert not told, f"{len(told)} stale reads of {verdict.reads}: {told[:3]} ... {told[-3:]}"
        return verdict

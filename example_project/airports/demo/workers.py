"""The readers and the writers, each a process."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, cast

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F

from airports.demo.history import Recorder
from airports.demo.plan import Plan, Share, Zipf
from airports.models import Airport
from django_cacheaside.engine.tally import Event
from django_cacheaside.orm.registry import registry

BATCH = 20
BATCHES_AMONG_READS = 0.2
ROWS_OF_A_WRITE = (1, 1, 1, 5)


@dataclass(slots=True)
class Reads:
    """What a reader did. Durations in nanoseconds."""

    single_ns: array[int] = field(default_factory=lambda: array("q"))
    batch_ns: array[int] = field(default_factory=lambda: array("q"))
    rows: int = 0
    selects: int = 0
    hits: int = 0


@dataclass(slots=True)
class Writes:
    """What a writer did: how long each write took, the library's work included, in nanoseconds."""

    write_ns: array[int] = field(default_factory=lambda: array("q"))


def read(share: Share, wait_for_start: Callable[[], int]) -> Reads:
    """Read row by row, and in batches, as fast as it goes."""
    plan, random, reads = share.plan, share.random(), Reads()
    popular = Zipf(plan.pks, random)
    airports = Airport.cached if plan.is_cached else Airport.objects
    _connect(plan)

    def count_selects(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        reads.selects += sql.startswith("SELECT")
        return execute(sql, *args)

    with Recorder(share.history) as history, connection.execute_wrapper(count_selects):
        end_ns = wait_for_start() + int(1e9 * plan.seconds)
        while time.monotonic_ns() < end_ns:
            if random.random() < BATCHES_AMONG_READS:
                pks = popular.draw(BATCH)
                began_ns = time.monotonic_ns()
                found = airports.in_bulk(pks)
                reads.batch_ns.append(time.monotonic_ns() - began_ns)
                seen = [found[pk] for pk in set(pks)]
            else:
                (pk,) = popular.draw(1)
                began_ns = time.monotonic_ns()
                seen = [airports.get(pk=pk)]
                reads.single_ns.append(time.monotonic_ns() - began_ns)
            reads.rows += len(seen)
            for airport in seen:
                history.add(airport.pk, airport.version, began_ns)
    reads.hits = registry.for_model(Airport).tally.counts[Event.HIT]
    return reads


def write(share: Share, wait_for_start: Callable[[], int]) -> Writes:
    """Write popular rows at a steady pace, in every way that Django has, with and without a transaction around it.

    Each row has one writer, which therefore knows the version that it writes.
    """
    plan, random, writes = share.plan, share.random(), Writes()
    popular = Zipf([pk for pk in plan.pks if pk % plan.writers == share.number], random)
    versions: Counter[int] = Counter()
    _connect(plan)
    with Recorder(share.history) as history, committing_noted() as last:
        start_ns = wait_for_start()
        for n in count():
            due_s = (n + random.random()) / plan.writes_per_s
            if due_s > plan.seconds:
                break
            time.sleep(max(0.0, due_s - (time.monotonic_ns() - start_ns) / 1e9))
            pks = set(popular.draw(random.choice(ROWS_OF_A_WRITE)))
            began_ns = time.monotonic_ns()
            with random.choice((transaction.atomic, nullcontext))():
                random.choice(WAYS)(pks)
            writes.write_ns.append(time.monotonic_ns() - began_ns)
            versions.update(pks)
            for pk in pks:
                history.add(pk, versions[pk], last.acknowledged_ns)
    if versions != dict(Airport.objects.filter(pk__in=versions).values_list("pk", "version")):
        raise AssertionError("The history of a writer is not what the database holds.")
    return writes


class Acknowledgement:
    """When the database last said that something was done."""

    acknowledged_ns = 0

    def after(self, act: Callable[..., Any], *args: Any) -> Any:
        """Do it, and note when it was done."""
        done = act(*args)
        self.acknowledged_ns = time.monotonic_ns()
        return done


@contextmanager
def committing_noted() -> Iterator[Acknowledgement]:
    """Note each COMMIT, and each statement (in autocommit it is its own), nearer to the driver than the library stands.

    A write returns only when the cache has been told; but from the COMMIT on no reader may see the older row.
    """
    last, django_connection = Acknowledgement(), cast("Any", connection)
    commit = django_connection._commit
    django_connection._commit = partial(last.after, commit)
    with connection.execute_wrapper(last.after):  # the last wrapper is the innermost
        yield last
    django_connection._commit = commit


def _save(pks: Collection[int]) -> None:
    for airport in Airport.objects.filter(pk__in=pks):
        airport.version += 1
        airport.save()


def _update(pks: Collection[int]) -> None:
    Airport.objects.filter(pk__in=pks).update(version=F("version") + 1)


def _bulk_update(pks: Collection[int]) -> None:
    airports = list(Airport.objects.filter(pk__in=pks))
    for airport in airports:
        airport.version += 1
    Airport.objects.bulk_update(airports, ["version"])


def _raw_sql(pks: Collection[int]) -> None:
    places = ", ".join(["%s"] * len(pks))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE airports_airport SET version = version + 1 WHERE id IN ({places})", list(pks))  # noqa: S608


WAYS = (_save, _update, _bulk_update, _raw_sql)


def _connect(plan: Plan) -> None:
    connection.ensure_connection()
    if not plan.has_commit_work:
        take_off_commit_work(connection)


def take_off_commit_work(connection: BaseDatabaseWrapper) -> None:
    """Make a connection Django's own again: neither statements nor commits are heard of, and nothing is invalidated."""
    connection.execute_wrappers.clear()
    for wrapped in ("commit", "rollback", "set_autocommit", "close"):
        delattr(connection, wrapped)  # what the library put in front of the class's own

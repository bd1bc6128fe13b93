"""What a row takes of the server's memory: its entry, and its part of the epoch, the columns' record and the tables.

On a Valkey of its own. Two ways to weigh: by how much ``used_memory`` grows, without the clients' buffers, and the sum
of ``MEMORY USAGE`` of the keys, which knows nothing of the tables behind them. A lease stands while its load runs, and
is weighed then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connections
from redis import Redis

from benchmarks.apart import valkey_apart
from benchmarks.ground import BATCH, ROWS, Ground, bare
from benchmarks.measure import Effort
from benchmarks.models import Kept, KeyedKept
from benchmarks.report import Figure, amount
from benchmarks.servers import SQLITE
from django_cacheaside import failpoints
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry

MANY = 10 * ROWS
MOST_BYTES = 560


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Weigh them: bytes are the same in each round, so that there is but one."""
    many = ROWS + effort.times(MANY - ROWS)
    with _more_rows(many) as pks, valkey_apart({"TTL": 86_400, "TIMEOUT": 5}) as valkey:
        KeyedKept.cached.get(pk=ground.pks[0])  # connections and scripts are the server's, not a row's
        with Redis.from_url(valkey.url) as client:
            empty = _used(client)
            leases = _weigh_leases(client, pks[:ROWS])
            few_used, few_keys = _per_row(client, empty, ROWS)
            for start in range(ROWS, many, BATCH):
                Kept.cached.in_bulk(pks[start : start + BATCH])
            many_used, many_keys = _per_row(client, empty, many)
    return [
        amount("memory", f"used_memory a row, {ROWS:,} rows", [few_used], "bytes", most=MOST_BYTES),
        amount("memory", f"used_memory a row, {many:,} rows", [many_used], "bytes", most=MOST_BYTES),
        amount("memory", f"MEMORY USAGE of all keys a row, {ROWS:,} rows", [few_keys], "bytes"),
        amount("memory", f"MEMORY USAGE of all keys a row, {many:,} rows", [many_keys], "bytes"),
        amount("memory", f"used_memory a lease while it is held, {ROWS:,} leases", [leases], "bytes"),
    ]


@contextmanager
def _more_rows(many: int) -> Iterator[list[int]]:
    """As many rows as are asked for, copies of those that there are; afterwards they are as many as before."""
    objects = bare(Kept, SQLITE)
    rows = list(objects.all())
    fields = [field.attname for field in Kept._meta.concrete_fields if not field.primary_key]
    values = [{name: getattr(row, name) for name in fields} for row in rows]
    objects.bulk_create([Kept(pk=pk, **values[pk % ROWS]) for pk in range(ROWS + 1, many + 1)])
    try:
        yield list(range(1, many + 1))
    finally:
        objects.filter(pk__gt=ROWS).delete()


def _weigh_leases(client: Redis, pks: Sequence[int]) -> float:
    """Fill rows, and weigh the leases before they give way to the entries."""
    before = _used(client)
    held: list[int] = []
    with failpoints.armed("before-fill", lambda: held.append(_used(client))):
        Kept.cached.in_bulk(pks)
    return (held[0] - before) / len(pks)


def _per_row(client: Redis, empty: int, rows: int) -> tuple[float, float]:
    tag = runtime.current().place(registry.for_model(Kept), connections[SQLITE]).space.tag
    keys = [key for key in client.scan_iter(count=1000) if tag.encode() in key]
    entries = [key for key in keys if b"}e:" in key]
    assert len(entries) == rows, f"{len(entries)} entries of {rows} rows"
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.memory_usage(key, samples=0)
        weights: list[int] = pipeline.execute()
    return (_used(client) - empty) / rows, sum(weights) / rows


def _used(client: Redis) -> int:
    """The server's memory in bytes, but for what it keeps to talk to its clients."""
    talk = sum(int(one["tot-mem"]) for one in client.client_list())  # INFO's own sum of it lags by seconds
    return int(client.info("memory")["used_memory"]) - talk

"""What all subjects stand on: equal rows with us and without us, and a plain client of the same Valkey."""

from __future__ import annotations

import datetime as dt
import gc
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Manager
from redis import Redis

from benchmarks.models import Bare, Columns, Kept, KeyedBare, KeyedKept, NearKept
from benchmarks.servers import POSTGRESQL, SQLITE, WITHOUT_US, Where
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry

ROWS = 1000
BATCH = 100
LISTED = 20


@dataclass(frozen=True, slots=True)
class Ground:
    """Shared by the subjects; each leaves the rows as many as they were.

    Args:
        where: The servers, for who starts further processes.
        client: redis-py with its defaults, on the same socket as ours: the floor's.
        pks: All primary keys, shuffled.
        skus: Of the same rows, in the same order; no two rows of the keyed models have one.
    """

    where: Where
    client: Redis
    pks: Sequence[int]
    skus: Sequence[str]

    @property
    def batch(self) -> list[int]:
        """The primary keys of a batch."""
        return list(self.pks[:BATCH])

    def keys(self, pks: Sequence[int], alias: str = SQLITE, *, model: type[Columns] = Kept) -> list[str]:
        """The keys of the entries of rows."""
        return entry_keys(model, pks, alias)

    def epoch(self, alias: str = SQLITE) -> str:
        """The key of the model's epoch."""
        return runtime.current().place(registry.for_model(Kept), connections[alias]).space.epoch

    def close(self) -> None:
        """Hang up, before the servers end."""
        connections.close_all()
        runtime.reset()
        self.client.close()


def prepare(where: Where, *, seed: int) -> Ground:
    """Make the tables and their rows; 0.6 s."""
    keep_us_off()
    rng = random.Random(seed)
    values = [_values(rng) for _ in range(ROWS)]
    for alias in (SQLITE, POSTGRESQL):
        call_command("migrate", "cacheaside", database=alias, verbosity=0)  # the journal, which is looked at
        for model, its_alias in ((Kept, alias), (Bare, WITHOUT_US[alias])):
            _fill(model, its_alias, values)
    _fill(NearKept, SQLITE, values)
    keyed = [{**row, "sku": f"{row['sku']}-{pk}", "stock": pk % (ROWS // LISTED)} for pk, row in enumerate(values, 1)]
    for model, its_alias in ((KeyedKept, SQLITE), (KeyedBare, WITHOUT_US[SQLITE])):
        _fill(model, its_alias, keyed)
    gc.collect()
    gc.freeze()  # a collection during a round shall not walk through all of Django
    pks = rng.sample(range(1, ROWS + 1), ROWS)
    return Ground(where, Redis.from_url(where.valkey_url), pks, [keyed[pk - 1]["sku"] for pk in pks])


def entry_keys(model: type[Columns], pks: Sequence[int], alias: str) -> list[str]:
    """The keys of the entries of a model's rows."""
    space = runtime.current().place(registry.for_model(model), connections[alias]).space
    return [space.entry(str(pk)) for pk in pks]


def _fill(model: type[Columns], alias: str, values: Sequence[dict[str, Any]]) -> None:
    with connections[alias].schema_editor() as editor:
        editor.create_model(model)
    bare(model, alias).bulk_create([model(pk=pk, **row) for pk, row in enumerate(values, 1)])
    with connections[alias].cursor() as cursor:
        cursor.execute("ANALYZE")


def bare(model: type[Columns], alias: str) -> Manager[Any]:
    """``objects`` of a database, without the time that ``using()`` takes at each call."""
    return model._default_manager.db_manager(alias)


def _values(rng: random.Random) -> dict[str, Any]:
    at = dt.datetime(2025, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(microseconds=rng.randrange(10**13))
    words = [rng.choice(("lamp", "chair", "blue", "Öl", "steel", "small", "garden", "№ 5")) for _ in range(12)]
    return {
        "sku": f"SKU-{rng.randrange(10**9):09}",
        "name": " ".join(words[:5]),
        "note": rng.choice((None, " ".join(words))),
        "stock": rng.randrange(1000),
        "rank": rng.choice((None, rng.randrange(100))),
        "is_active": rng.random() < 0.9,
        "price": Decimal(rng.randrange(10**6)).scaleb(-2),
        "created_at": at,
        "updated_at": rng.choice((None, at + dt.timedelta(hours=rng.randrange(1000)))),
        "released_on": rng.choice((None, at.date())),
        "code": uuid.UUID(int=rng.getrandbits(128), version=4),
    }


def keep_us_off() -> None:
    """From now on, on connections to the databases that shall be Django's alone, of this process."""
    connection_created.connect(_take_us_off)  # after ours: receivers are called in the order in which they came


def _take_us_off(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Leave nothing of ours on a connection that shall be Django's alone."""
    if connection.alias in WITHOUT_US.values():
        connection.execute_wrappers[:] = [one for one in connection.execute_wrappers if not _is_ours(one)]
        for name, value in list(vars(connection).items()):
            if _is_ours(value):
                delattr(connection, name)


def _is_ours(value: Any) -> bool:
    """Does its code stand in our package? ``functools.wraps`` hides that from ``__module__``, not from its globals."""
    module: str = getattr(value, "__globals__", {}).get("__name__") or type(value).__module__
    return module.startswith("django_cacheaside.")

"""Warm rows by declared keys, two round trips each, against one GET of a row's bytes; beside them the plain ORM."""

from __future__ import annotations

from itertools import cycle

from benchmarks.counting import round_trips
from benchmarks.ground import BATCH, LISTED, Ground, bare
from benchmarks.measure import Contender, Effort, in_turn
from benchmarks.models import KeyedBare, KeyedKept
from benchmarks.report import Figure, Target, counted, timed
from benchmarks.servers import SQLITE, WITHOUT_US

FLOOR = "redis-py GET of a row's bytes (the floor)"
BY_PK = "Model.cached.get(pk=…), warm"
UNIQUE = "Model.cached.get(sku=…), warm"
BULK = f"Model.cached.in_bulk({BATCH} skus), warm"
LISTING = f"Model.cached.filter(stock=…) of {LISTED} rows, warm"
SQLITE_UNIQUE = "objects.get(sku=…), SQLite, without us"
SQLITE_BULK = f"objects.in_bulk({BATCH} skus), SQLite, without us"
SQLITE_LISTING = f"objects.filter(stock=…) of {LISTED} rows, SQLite, without us"


def figures(ground: Ground, effort: Effort) -> list[Figure]:
    """Measure it, over the rows of a batch and all listings in turn."""
    cached, sqlite = KeyedKept.cached, bare(KeyedBare, WITHOUT_US[SQLITE])
    pks, skus = ground.batch, ground.skus[:BATCH]
    stocks = range(len(ground.pks) // LISTED)
    for _ in range(2):  # rows that come with an entry's load are not filled: the second read does it
        assert len(cached.in_bulk(skus, field_name="sku")) == BATCH
        assert all(len(cached.filter(stock=stock)) == LISTED for stock in stocks)
    keys = cycle(ground.keys(pks, model=KeyedKept))
    assert all(ground.client.exists(next(keys)) for _ in pks)
    get, wanted, by_sku, in_sqlite = ground.client.get, cycle(pks), cycle(skus), cycle(skus)
    stock, stock_in_sqlite = cycle(stocks), cycle(stocks)
    timings = in_turn(
        [
            Contender(FLOOR, lambda: get(next(keys)), 500),
            Contender(BY_PK, lambda: cached.get(pk=next(wanted)), 400),
            Contender(UNIQUE, lambda: cached.get(sku=next(by_sku)), 200),
            Contender(BULK, lambda: cached.in_bulk(skus, field_name="sku"), 20),
            Contender(LISTING, lambda: list(cached.filter(stock=next(stock))), 50),
            Contender(SQLITE_UNIQUE, lambda: sqlite.get(sku=next(in_sqlite)), 100),
            Contender(SQLITE_BULK, lambda: sqlite.in_bulk(skus, field_name="sku"), 10),
            Contender(
                SQLITE_LISTING, lambda: list(sqlite.filter(stock=next(stock_in_sqlite)).order_by("rank", "pk")), 40
            ),
        ],
        effort,
    )
    return [
        timed("keys", timings, FLOOR),
        timed("keys", timings, BY_PK, floor=FLOOR, target=Target(1.3, of="ratio")),
        timed("keys", timings, UNIQUE, floor=FLOOR, target=Target(2.3, of="ratio")),
        timed("keys", timings, BULK, floor=FLOOR),
        timed("keys", timings, LISTING, floor=FLOOR),
        timed("keys", timings, SQLITE_UNIQUE, floor=FLOOR),
        timed("keys", timings, SQLITE_BULK, floor=FLOOR),
        timed("keys", timings, SQLITE_LISTING, floor=FLOOR),
        counted("keys", UNIQUE, round_trips(lambda: cached.get(sku=skus[0])), expected=2),
        counted("keys", BULK, round_trips(lambda: cached.in_bulk(skus, field_name="sku")), expected=2),
        counted("keys", LISTING, round_trips(lambda: list(cached.filter(stock=0))), expected=2),
    ]

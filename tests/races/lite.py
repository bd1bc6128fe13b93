"""SQLite: a file that threads share, where a cursor keeps its snapshot and a savepoint may be a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connections, transaction

from django_cacheaside.store.envelope import Found
from tests.app.models import Product
from tests.races import mutants
from tests.races.commits import RollbackError, failing
from tests.races.play import bump, everybody_sees, found, here, make, race, sql, version, versions, warm
from tests.races.stage import Stage

DB = "sqlite"
ABSENT = 10_000


@contextmanager
def write_ahead_log(stage: Stage) -> Iterator[None]:
    """In this journal mode a writer commits while readers keep to their snapshots."""
    sql("PRAGMA journal_mode=WAL", using=DB)
    try:
        yield
    finally:
        stage.clear()  # the mode can be changed only when nobody else has the file open
        connections[DB].close()
        sql("PRAGMA journal_mode=DELETE", using=DB)


@race(mutants.unfinished_cursors_unseen)
def unfinished_cursor(stage: Stage) -> None:
    """A half consumed ``iterator()`` holds an old snapshot: what its connection reads meanwhile must not be filled."""
    with write_ahead_log(stage):
        pks = [make(using=DB) for _ in range(10)]

        def read() -> int | None:
            rows = Product.objects.using(DB).order_by("pk").iterator(chunk_size=2)
            next(rows)
            here("in-the-middle")
            seen = version(pks[-1], using=DB)
            rows.close()
            return seen

        reader = stage.act(read, hold_at=["in-the-middle"])
        stage.run(lambda: bump(pks[-1], using=DB))
        assert reader.finish() == 0, "SQLite gave the cursor's snapshot"
        everybody_sees(stage, pks[-1], 1, using=DB)


@race(mutants.unfinished_cursors_unseen)
def unfinished_cursor_and_a_batch(stage: Stage) -> None:
    """The same for many rows at once, one of them cached."""
    with write_ahead_log(stage):
        pks = [make(using=DB) for _ in range(10)]
        warm(stage, pks[0], using=DB)

        def read() -> list[int | None]:
            rows = Product.objects.using(DB).order_by("pk").iterator(chunk_size=2)
            next(rows)
            here("in-the-middle")
            seen = versions(*pks, using=DB)
            rows.close()
            return seen

        reader = stage.act(read, hold_at=["in-the-middle"])
        stage.run(lambda: bump(*pks[1:], using=DB))
        reader.finish()
        assert [found(pk, using=DB) for pk in pks[1:]] == [Found.MISS] * 9
        assert stage.run(lambda: versions(*pks, using=DB)) == [0] + [1] * 9


@race(mutants.transactions_unseen)
def atomic_fills_nothing(stage: Stage) -> None:
    """Its snapshot is as old as its first read."""
    with write_ahead_log(stage):
        first, second = make(using=DB), make(using=DB)

        def read() -> list[int | None]:
            with transaction.atomic(using=DB):
                seen = [version(first, using=DB)]
                here("first-read")
                return [*seen, version(second, using=DB)]

        reader = stage.act(read, hold_at=["first-read"])
        stage.run(lambda: bump(first, second, using=DB))
        assert reader.finish() == [0, 0]
        everybody_sees(stage, second, 1, using=DB)


@race(mutants.transactions_unseen)
def atomic_hits_nothing(stage: Stage) -> None:
    """A hit could be newer than what the transaction has read before."""
    with write_ahead_log(stage):
        first, second = make(using=DB), make(using=DB)

        def read() -> list[int | None]:
            with transaction.atomic(using=DB):
                seen = [version(first, using=DB)]
                here("first-read")
                return [*seen, version(second, using=DB)]

        reader = stage.act(read, hold_at=["first-read"])
        stage.run(lambda: bump(first, second, using=DB))
        warm(stage, first, second, using=DB)
        seen = reader.finish()
        assert seen == [0, 0], f"in one snapshot a reader saw {seen}"


def save(pk: int) -> None:
    row = Product.objects.using(DB).get(pk=pk)
    row.version = 1
    row.save()


def in_atomic(pk: int) -> None:
    with transaction.atomic(using=DB):
        bump(pk, using=DB)


def in_savepoint(pk: int) -> None:
    with transaction.atomic(using=DB), transaction.atomic(using=DB):
        bump(pk, using=DB)


def raw(pk: int) -> None:
    sql("BEGIN", using=DB)
    bump(pk, using=DB)
    sql("COMMIT", using=DB)


def raw_savepoint(pk: int) -> None:
    sql("SAVEPOINT outermost", using=DB)
    bump(pk, using=DB)
    sql("RELEASE SAVEPOINT outermost", using=DB)


def manual(pk: int) -> None:
    transaction.set_autocommit(False, using=DB)
    bump(pk, using=DB)
    transaction.commit(using=DB)
    transaction.set_autocommit(True, using=DB)


def turned_on(pk: int) -> None:
    transaction.set_autocommit(False, using=DB)
    bump(pk, using=DB)
    transaction.set_autocommit(True, using=DB)


def savepoint_in_manual(pk: int) -> None:
    transaction.set_autocommit(False, using=DB)
    with transaction.atomic(using=DB):
        bump(pk, using=DB)
    transaction.commit(using=DB)
    transaction.set_autocommit(True, using=DB)


WRITES: dict[str, Callable[[int], object]] = {
    "save": save,
    "update": lambda pk: bump(pk, using=DB),
    "returning": lambda pk: sql("UPDATE app_product SET version = 1 WHERE id = %s RETURNING version", pk, using=DB),
    "atomic": in_atomic,
    "savepoint": in_savepoint,
    "raw": raw,
    "raw-savepoint": raw_savepoint,
    "manual": manual,
    "turned-on": turned_on,
    "savepoint-in-manual": savepoint_in_manual,
}


def commit(name: str, write: Callable[[int], object]) -> None:
    @race(mutants.no_intents, mutants.nobody_listens, name=f"sqlite-{name}")
    def scenario(stage: Stage) -> None:
        """Readers at the release, and after it."""
        pk = make(using=DB)
        warm(stage, pk, using=DB)
        writer = stage.begin(lambda: write(pk), hold_at=["after-commit"])
        writer.is_held()
        everybody_sees(stage, pk, 1, using=DB)
        writer.finish()
        everybody_sees(stage, pk, 1, using=DB)


for name, write in WRITES.items():
    commit(name, write)


@race(mutants.rows_left_in_cursor)
def insert_that_returns(stage: Stage) -> None:
    """SQLite commits when the last returned row was fetched: a release before that would come too early."""
    warm(stage, ABSENT, using=DB)

    def insert() -> None:
        with connections[DB].cursor() as cursor:
            cursor.execute(
                "INSERT INTO app_product (id, name, price, version) VALUES (%s, '', 0, 1) RETURNING id", [ABSENT]
            )
            here("executed")
            assert cursor.fetchall() == [(ABSENT,)]

    writer = stage.act(insert, hold_at=["executed"])
    stage.run(lambda: version(ABSENT, using=DB))
    writer.finish()
    everybody_sees(stage, ABSENT, 1, using=DB)


@race(mutants.rows_left_in_cursor)
def update_that_returns(stage: Stage) -> None:
    """The same for a cached row."""
    pk = make(using=DB)
    warm(stage, pk, using=DB)

    def update() -> None:
        with connections[DB].cursor() as cursor:
            cursor.execute("UPDATE app_product SET version = 1 WHERE id = %s RETURNING id, version", [pk])
            here("executed")
            assert cursor.fetchone() == (pk, 1)

    writer = stage.act(update, hold_at=["executed"])
    stage.run(lambda: version(pk, using=DB))
    writer.finish()
    everybody_sees(stage, pk, 1, using=DB)


@race(mutants.transactions_unseen)
def rollback(stage: Stage) -> None:
    """The writer sees its own write, nobody else does."""
    pk, cached = make(using=DB), make(using=DB)
    warm(stage, cached, using=DB)

    def write() -> None:
        with transaction.atomic(using=DB):
            bump(pk, cached, using=DB)
            assert [version(pk, using=DB), version(cached, using=DB)] == [1, 1]
            raise RollbackError

    failing(stage, write, RollbackError)
    everybody_sees(stage, pk, 0, using=DB)
    everybody_sees(stage, cached, 0, using=DB)
    assert found(cached, using=DB) is Found.HIT


@race(mutants.fill_ignores_lease)
def late_fill_on_sqlite(stage: Stage) -> None:
    """The protocol is the same."""
    pk = make(using=DB)
    reader = stage.act(lambda: version(pk, using=DB), hold_at=["before-fill"])
    stage.run(lambda: bump(pk, using=DB))
    assert reader.finish() == 0
    everybody_sees(stage, pk, 1, using=DB)


@race(mutants.no_intents, mutants.nobody_listens)
def write_under_an_unfinished_cursor(stage: Stage) -> None:
    """An UPDATE in autocommit is committed when it ends, though the same connection has a SELECT unfinished."""
    with write_ahead_log(stage):
        pks = [make(using=DB) for _ in range(10)]
        warm(stage, pks[0], using=DB)

        def write() -> None:
            rows = Product.objects.using(DB).order_by("pk").iterator(chunk_size=2)
            next(rows)
            bump(pks[0], using=DB)
            rows.close()

        writer = stage.begin(write, hold_at=["after-commit"])
        writer.is_held()
        everybody_sees(stage, pks[0], 1, using=DB)
        writer.finish()
        everybody_sees(stage, pks[0], 1, using=DB)

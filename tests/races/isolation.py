"""Transactions that keep to one snapshot read the database; those that don't are served until they write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import IsolationLevel

from django_cacheaside.store.envelope import Found
from tests.app.models import Plain
from tests.races import mutants
from tests.races.play import bump, everybody_sees, found, here, is_leased, make, race, sql, version, warm
from tests.races.stage import Stage

Begin = Callable[[], AbstractContextManager[object]]


@contextmanager
def options(**changed: object) -> Iterator[None]:
    """As if DATABASES said so: on this thread's connection, which is not open yet."""
    here_only = {**connection.settings_dict, "OPTIONS": {**connection.settings_dict["OPTIONS"], **changed}}
    connection.settings_dict, before = here_only, connection.settings_dict
    try:
        with transaction.atomic():
            yield
    finally:
        connection.close()
        connection.settings_dict = before


@contextmanager
def after(*statements: str) -> Iterator[None]:
    """``atomic`` with statements at its beginning."""
    with transaction.atomic():
        for statement in statements:
            sql(statement)
        yield


@contextmanager
def session(*statements: str) -> Iterator[None]:
    """``atomic`` after statements in autocommit, and not the first one after them."""
    for statement in statements:
        sql(statement)
    with transaction.atomic():
        sql("SELECT 1")
    with transaction.atomic():
        yield


@contextmanager
def raw(*statements: str) -> Iterator[None]:
    """A transaction without Django."""
    for statement in statements:
        sql(statement)
    yield
    sql("COMMIT")


@contextmanager
def manual(statement: str) -> Iterator[None]:
    """``set_autocommit(False)``."""
    transaction.set_autocommit(False)
    sql(statement)
    yield
    transaction.commit()
    transaction.set_autocommit(True)


SNAPSHOTS: dict[str, Begin] = {
    "option-repeatable-read": lambda: options(isolation_level=IsolationLevel.REPEATABLE_READ),
    "option-serializable": lambda: options(isolation_level=IsolationLevel.SERIALIZABLE),
    "option-of-the-server": lambda: options(options="-c default_transaction_isolation=repeatable\\ read"),
    "set-transaction": lambda: after("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
    "set-transaction-serializable": lambda: after("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
    "set-local": lambda: after("SET LOCAL transaction_isolation = 'repeatable read'"),
    "session-characteristics": lambda: session(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    ),
    "session-default": lambda: session("SET default_transaction_isolation = 'repeatable read'"),
    "raw-begin": lambda: raw("BEGIN ISOLATION LEVEL REPEATABLE READ"),
    "raw-start": lambda: raw("START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY"),
    "raw-begin-then-set": lambda: raw("BEGIN", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
    "chained": lambda: raw("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1", "COMMIT AND CHAIN"),
    "rolled-back-and-chained": lambda: raw("BEGIN ISOLATION LEVEL REPEATABLE READ", "ROLLBACK AND CHAIN"),
    "one-text": lambda: raw("BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
    "manual": lambda: manual("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
}


def snapshot(name: str, begin: Begin) -> None:
    @race(mutants.snapshots_unseen, name=f"no-hit-inside-{name}")
    def no_hit(stage: Stage) -> None:
        """Two rows are written together; a reader that has read one of them before must not see the other one after."""
        first, second = make(), make()
        warm(stage, first, second)

        def read() -> list[int | None]:
            with begin():
                seen = [version(first)]
                here("first-read")
                return [*seen, version(second)]

        reader = stage.act(read, hold_at=["first-read"])
        stage.run(lambda: bump(first, second))
        warm(stage, first, second)
        seen = reader.finish()
        assert seen == [0, 0], f"in one snapshot a reader saw {seen}"
        everybody_sees(stage, second, 1)

    @race(mutants.snapshots_unseen, name=f"no-fill-inside-{name}")
    def no_fill(stage: Stage) -> None:
        """Its SELECT is sent after the COMMIT and sees the row of before: under a valid lease it would be stored."""
        first, second = make(), make()

        def read() -> list[int | None]:
            with begin():
                seen = [version(first)]
                here("first-read")
                return [*seen, version(second)]

        reader = stage.act(read, hold_at=["first-read"])
        stage.run(lambda: bump(second))
        assert reader.finish() == [0, 0]
        everybody_sees(stage, second, 1)


for name, begin in SNAPSHOTS.items():
    snapshot(name, begin)


@race(mutants.writing_unseen)
def read_committed_is_served_until_it_writes(stage: Stage) -> None:
    """Hits and fills before its first write, of whatever table; afterwards hits of other rows, but no lease."""
    cached, fresh, later = make(), make(), make()
    warm(stage, cached)

    def read_and_write() -> None:
        with transaction.atomic():
            assert version(cached) == version(fresh) == 0
            assert found(fresh) is Found.HIT
            Plain.objects.create(name="any table")
            assert version(cached) == version(later) == 0
            here("read")

    actor = stage.act(read_and_write, hold_at=["read"])
    assert actor.selects == 2, "two rows were missed, the rest were hits"
    assert found(later) is Found.MISS
    assert not is_leased(later)
    actor.finish()
    everybody_sees(stage, later, 0)


@race(mutants.transactions_unseen)
def trigger_like_write_in_a_transaction(stage: Stage) -> None:
    """A transaction that has written may see rows that nobody else sees yet, others than those it names: no fill."""
    pk = make()
    sql(
        "CREATE OR REPLACE FUNCTION races_raise() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN UPDATE app_product SET version = version + 1; RETURN NEW; END'"
    )
    sql("CREATE TRIGGER races AFTER INSERT ON app_plain FOR EACH ROW EXECUTE FUNCTION races_raise()")
    try:

        def write() -> None:
            with transaction.atomic():
                Plain.objects.create(name="fires the trigger")
                assert version(pk) == 1
                transaction.set_rollback(True)

        stage.run(write)
        everybody_sees(stage, pk, 0)
    finally:
        sql("DROP TRIGGER races ON app_plain")
        sql("DROP FUNCTION races_raise")


@race(mutants.snapshots_unseen)
def reads_after_a_snapshot(stage: Stage) -> None:
    """The level ends with its transaction: the connection's next ones are served again."""
    pk, other = make(), make()
    warm(stage, pk)

    def read() -> None:
        with after("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"):
            assert version(pk) == 0
            here("in-snapshot")
        assert version(pk) == 0
        with transaction.atomic():
            assert version(pk) == 0
            assert version(other) == 0

    reader = stage.act(read, hold_at=["in-snapshot"])
    assert reader.selects == 1, "inside the snapshot the database was read"
    reader.finish()
    assert reader.selects == 1 + 1, "one miss: the rest were hits"
    assert found(other) is Found.HIT

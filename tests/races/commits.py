"""Every way to write and to end a transaction, with readers before, between and after."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection, transaction

from django_cacheaside.store.envelope import Found
from tests.app.models import Bay, Crate, Product
from tests.races import mutants
from tests.races.play import (
    bump,
    bump_all,
    everybody_sees,
    found,
    here,
    make,
    race,
    server,
    sql,
    version,
    warm,
)
from tests.races.stage import Stage

ABSENT = 10_000


class RollbackError(Exception):
    """Raised by a play to leave ``atomic`` without a COMMIT."""


def failing(stage: Stage, play: Callable[[], object], error: type[BaseException]) -> None:
    """Run a play to its end, which must be this error."""
    try:
        stage.run(play)
    except error:
        return
    raise RuntimeError(f"the play was to end in {error.__name__}")


# --- rollbacks -------------------------------------------------------------------------------------------------------


@race(mutants.transactions_unseen)
def dirty_read_of_a_cached_row(stage: Stage) -> None:
    """The writer sees its own write, nobody else does; after the rollback the cached row is still there."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        with transaction.atomic():
            bump(pk)
            assert version(pk) == 1
            here("written")
            raise RollbackError

    writer = stage.act(write, hold_at=["written"])
    everybody_sees(stage, pk, 0)
    failing(stage, writer.finish, RollbackError)  # its own error, passed on by a second actor
    everybody_sees(stage, pk, 0)
    assert found(pk) is Found.HIT


@race(mutants.transactions_unseen)
def dirty_fill(stage: Stage) -> None:
    """The writer reads what it has written and not committed: it must not leave that behind."""
    pk = make()

    def write() -> None:
        with transaction.atomic():
            sql("UPDATE app_product SET version = 1 WHERE id = %s", pk)
            assert version(pk) == 1
            raise RollbackError

    failing(stage, write, RollbackError)
    assert found(pk) is Found.MISS
    everybody_sees(stage, pk, 0)


@race(mutants.savepoints_forget)
def savepoint_rolled_back(stage: Stage) -> None:
    """The outer transaction wrote the row as well, and that is committed."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        with transaction.atomic():
            bump(pk)
            try:
                with transaction.atomic():
                    bump(pk)
                    raise RollbackError
            except RollbackError:
                pass

    stage.run(write)
    everybody_sees(stage, pk, 1)


@race(mutants.transactions_unseen)
def savepoint_rolled_back_alone(stage: Stage) -> None:
    """Only the savepoint wrote the row: nobody ever sees its write, not even by a read of the transaction itself."""
    pk = make()

    def write() -> None:
        with transaction.atomic():
            try:
                with transaction.atomic():
                    bump(pk)
                    assert version(pk) == 1
                    raise RollbackError
            except RollbackError:
                pass
            assert version(pk) == 0

    stage.run(write)
    everybody_sees(stage, pk, 0)


@race(mutants.raw_transactions_unseen)
def raw_rollback(stage: Stage) -> None:
    """After ROLLBACK the next UPDATE is a transaction of its own again."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        sql("BEGIN")
        bump(pk)
        assert version(pk) == 1
        sql("ROLLBACK")
        assert version(pk) == 0
        bump(pk)

    stage.run(write)
    everybody_sees(stage, pk, 1)


# --- atomic ----------------------------------------------------------------------------------------------------------


@race(mutants.no_intents, mutants.nobody_listens)
def delete_inside_an_outer_atomic(stage: Stage) -> None:
    """Until the outermost COMMIT the row is there, from then on it is not."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        with transaction.atomic(), transaction.atomic():
            Product.objects.get(pk=pk).delete()
            assert version(pk) is None
            here("deleted")

    writer = stage.act(write, hold_at=["deleted", "after-commit"])
    everybody_sees(stage, pk, 0)
    writer.go_on()
    writer.wait_held()
    everybody_sees(stage, pk, None)
    writer.finish()
    everybody_sees(stage, pk, None)


@race(mutants.by_on_commit_hook)
def on_commit_hook_that_raises(stage: Stage) -> None:
    """Registered before anything is written, it drops all later hooks: the invalidation is none."""
    pk = make()
    warm(stage, pk)

    def hook() -> None:
        assert version(pk) == 1, "a hook runs after the release"
        raise RollbackError

    def write() -> None:
        with transaction.atomic():
            transaction.on_commit(hook)
            bump(pk)

    failing(stage, write, RollbackError)
    everybody_sees(stage, pk, 1)


@race(mutants.release_lifts_all)
def two_writers_on_one_row(stage: Stage) -> None:
    """The first one's release comes while the second one's COMMIT is open: that one's intent must stay."""
    pk = make()

    def write() -> None:
        with transaction.atomic():
            bump(pk)

    first = stage.act(write, hold_at=["after-commit"])
    second = stage.act(write, hold_at=["before-commit", "after-commit"])
    first.finish()
    everybody_sees(stage, pk, 1)
    second.go_on()
    second.wait_held()
    everybody_sees(stage, pk, 2)
    second.finish()
    everybody_sees(stage, pk, 2)
    assert found(pk) is Found.HIT


@race(mutants.release_lifts_all)
def two_writers_of_the_whole_model(stage: Stage) -> None:
    """The same, where both have their intents on the epoch."""
    pk, other = make(), make()

    def write(row: int) -> None:
        with transaction.atomic():
            sql(f"UPDATE app_product SET version = version + 1 WHERE id + 0 = {row}")  # unreadable: any row may change

    first = stage.act(lambda: write(other), hold_at=["after-commit"])
    second = stage.act(lambda: write(pk), hold_at=["before-commit", "after-commit"])
    first.finish()
    everybody_sees(stage, pk, 0)
    second.go_on()
    second.wait_held()
    everybody_sees(stage, pk, 1)
    second.finish()
    everybody_sees(stage, pk, 1)


@race(mutants.nobody_listens)
def raw_update_in_the_middle_of_a_transaction(stage: Stage) -> None:
    """Between ORM reads, by a cursor: it joins the write set, and the transaction's reads see it."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        with transaction.atomic():
            assert version(pk) == 0
            sql("UPDATE app_product SET version = 1 WHERE id = %s", pk)
            assert version(pk) == 1

    stage.run(write)
    everybody_sees(stage, pk, 1)


# --- autocommit ------------------------------------------------------------------------------------------------------


def save(pk: int) -> None:
    row = Product.objects.get(pk=pk)
    row.version += 1
    row.save()


def upsert(pk: int) -> None:
    Product.objects.bulk_create(
        [Product(pk=pk, version=1)], update_conflicts=True, unique_fields=["id"], update_fields=["version"]
    )


AUTOCOMMIT: dict[str, Callable[[int], object]] = {
    "save": save,
    "update": bump,
    "update-of-unknown-rows": lambda pk: bump_all(),
    "update-or-create": lambda pk: Product.objects.update_or_create(pk=pk, defaults={"version": 1}),
    "bulk-update": lambda pk: Product.objects.bulk_update([Product(pk=pk, version=1)], ["version"]),
    "upsert": upsert,
    "raw": lambda pk: sql("UPDATE app_product SET version = 1 WHERE id = %s", pk),
    "raw-with": lambda pk: sql(
        "WITH it AS (SELECT %s AS id) UPDATE app_product SET version = 1 FROM it WHERE it.id = app_product.id", pk
    ),
    "executemany": lambda pk: executemany(pk),
}


def executemany(pk: int) -> None:
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE app_product SET version = %s WHERE id = %s", [(1, pk), (1, ABSENT)])


def autocommit(name: str, write: Callable[[int], object]) -> None:
    @race(mutants.no_intents, mutants.nobody_listens, name=f"autocommit-{name}")
    def scenario(stage: Stage) -> None:
        """The reader comes between the statement, which is its own COMMIT, and the release."""
        pk = make()
        warm(stage, pk)
        writer = stage.begin(lambda: write(pk), hold_at=["after-commit"])
        writer.is_held()
        everybody_sees(stage, pk, 1)
        writer.finish()
        everybody_sees(stage, pk, 1)


for name, write in AUTOCOMMIT.items():
    autocommit(name, write)


@race(mutants.no_intents, mutants.nobody_listens)
def autocommit_delete(stage: Stage) -> None:
    """A reader between DELETE and release."""
    pk = make()
    warm(stage, pk)
    writer = stage.begin(lambda: Product.objects.get(pk=pk).delete(), hold_at=["after-commit"])
    writer.is_held()
    everybody_sees(stage, pk, None)
    writer.finish()
    everybody_sees(stage, pk, None)


INSERTS: dict[str, Callable[[], object]] = {
    "create": lambda: Product.objects.create(version=1),
    "bulk-create": lambda: Product.objects.bulk_create([Product(version=1)]),
    "raw-returning": lambda: sql("INSERT INTO app_product (name, price, version) VALUES ('', 0, 1) RETURNING id"),
    "raw": lambda: sql("INSERT INTO app_product (name, price, version) VALUES ('', 0, 1)"),
}


def insert(name: str, write: Callable[[], object]) -> None:
    @race(mutants.no_intents, mutants.nobody_listens, name=f"autocommit-insert-{name}")
    def scenario(stage: Stage) -> None:
        """The primary key is known to be missing, and is then given by the database to a new row."""
        pk = make() + 1
        warm(stage, pk)
        assert found(pk) is Found.NEGATIVE_HIT
        writer = stage.begin(write, hold_at=["after-commit"])
        writer.is_held()
        everybody_sees(stage, pk, 1)
        writer.finish()
        everybody_sees(stage, pk, 1)


for name, create in INSERTS.items():
    insert(name, create)


# --- autocommit off --------------------------------------------------------------------------------------------------


@race(mutants.no_commit_work, mutants.no_intents)
def commit_without_autocommit(stage: Stage) -> None:
    """``set_autocommit(False)``: every ``connection.commit()`` is one, and the next statement begins the next."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        transaction.set_autocommit(False)
        bump(pk)
        assert version(pk) == 1
        transaction.commit()
        assert version(pk) == 1
        here("committed")
        bump(pk)
        transaction.rollback()
        assert version(pk) == 1
        bump(pk)
        transaction.commit()
        transaction.set_autocommit(True)

    writer = stage.act(write, hold_at=["after-commit", "committed"])
    everybody_sees(stage, pk, 1)
    writer.go_on()
    writer.wait_held()
    everybody_sees(stage, pk, 1)
    writer.finish()
    everybody_sees(stage, pk, 2)


@race(mutants.transactions_unseen)
def rollback_without_autocommit(stage: Stage) -> None:
    """Nothing is lost and nothing is left behind."""
    pk, other = make(), make()
    warm(stage, pk)

    def write() -> None:
        transaction.set_autocommit(False)
        bump(pk, other)
        assert [version(pk), version(other)] == [1, 1]
        transaction.rollback()
        transaction.set_autocommit(True)

    stage.run(write)
    everybody_sees(stage, pk, 0)
    everybody_sees(stage, other, 0)
    assert found(pk) is Found.HIT


@race(mutants.no_commit_work)
def autocommit_turned_on_inside_a_transaction(stage: Stage) -> None:
    """PostgreSQL's driver refuses; the transaction is still open and its COMMIT still ours to work around."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        transaction.set_autocommit(False)
        bump(pk)
        failing_here(lambda: transaction.set_autocommit(True))
        transaction.commit()
        transaction.set_autocommit(True)

    stage.run(write)
    everybody_sees(stage, pk, 1)
    assert found(pk) is Found.HIT


def failing_here(act: Callable[[], object]) -> None:
    """Do what the database refuses."""
    from django.db import DatabaseError

    try:
        act()
    except DatabaseError:
        return
    raise RuntimeError("the database was to refuse")


# --- raw transactions ------------------------------------------------------------------------------------------------


@race(mutants.no_commit_work, mutants.no_intents, mutants.raw_transactions_unseen)
def raw_begin_and_commit(stage: Stage) -> None:
    """Through a cursor. Others see the old row until COMMIT and the new one from then on."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        sql("BEGIN")
        bump(pk)
        here("updated")
        sql("COMMIT")

    writer = stage.act(write, hold_at=["updated", "after-commit"])
    if writer.is_held():
        everybody_sees(stage, pk, 0)
    writer.go_on()
    writer.is_held()
    everybody_sees(stage, pk, 1)
    writer.finish()
    everybody_sees(stage, pk, 1)


@race(mutants.chains_unseen)
def commit_and_chain(stage: Stage) -> None:
    """COMMIT AND CHAIN begins the next transaction at once."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        sql("BEGIN")
        bump(pk)
        sql("COMMIT AND CHAIN")
        bump(pk)
        here("updated-again")
        sql("COMMIT")

    writer = stage.act(write, hold_at=["after-commit", "updated-again"])
    everybody_sees(stage, pk, 1)
    writer.go_on()
    writer.wait_held()
    everybody_sees(stage, pk, 1)
    writer.finish()
    everybody_sees(stage, pk, 2)


@race(mutants.nobody_listens, mutants.no_intents)
def commit_prepared(stage: Stage) -> None:
    """PREPARE TRANSACTION commits nothing; COMMIT PREPARED, from another connection, commits who knows what."""
    pk = make()
    warm(stage, pk)

    def prepare() -> None:
        sql("BEGIN")
        bump(pk)
        sql("PREPARE TRANSACTION 'races'")

    stage.run(prepare)
    try:
        everybody_sees(stage, pk, 0)
    except BaseException:
        sql("ROLLBACK PREPARED 'races'")
        raise
    writer = stage.begin(lambda: sql("COMMIT PREPARED 'races'"), hold_at=["after-commit"])
    writer.is_held()
    everybody_sees(stage, pk, 1)
    writer.finish()
    everybody_sees(stage, pk, 1)


@race(mutants.nobody_listens)
def rollback_prepared(stage: Stage) -> None:
    """Nothing was committed, and who prepared it goes on in autocommit."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        sql("BEGIN")
        bump(pk)
        sql("PREPARE TRANSACTION 'races'")
        sql("ROLLBACK PREPARED 'races'")
        assert version(pk) == 0
        bump(pk)

    stage.run(write)
    everybody_sees(stage, pk, 1)


@race(mutants.failed_statements_unseen)
def raw_commit_that_fails(stage: Stage) -> None:
    """The COMMIT of a raw transaction fails: the transaction is over, and the next UPDATE is in autocommit."""
    bay = Bay.objects.create()
    pk, other = make(model=Crate, bay=bay), make(model=Crate, bay=bay)
    warm(stage, pk, other, model=Crate)

    def write() -> None:
        sql("BEGIN")
        Crate.objects.filter(pk=pk).update(version=7, bay_id=ABSENT)
        failing_here(lambda: sql("COMMIT"))
        bump(other, model=Crate)

    stage.run(write)
    everybody_sees(stage, other, 1, model=Crate)
    everybody_sees(stage, pk, 0, model=Crate)
    assert found(pk, model=Crate) is Found.HIT


@race(mutants.nobody_listens)
def several_statements_in_one_text(stage: Stage) -> None:
    """A whole transaction in one text: whatever it names is invalidated as a model."""
    pk = make()
    warm(stage, pk)
    stage.run(lambda: sql(f"BEGIN; UPDATE app_product SET version = 1 WHERE id = {pk}; COMMIT"))
    everybody_sees(stage, pk, 1)


# --- past the ORM ----------------------------------------------------------------------------------------------------


@race(mutants.cursors_unwatched)
def copy_from(stage: Stage) -> None:
    """psycopg's COPY passes Django's execute wrappers by."""
    warm(stage, ABSENT)
    assert found(ABSENT) is Found.NEGATIVE_HIT

    def write() -> None:
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY app_product (id, name, price, version) FROM STDIN") as copying,
        ):
            copying.write_row((ABSENT, "", 0, 1))

    writer = stage.begin(write, hold_at=["after-commit"])
    writer.is_held()
    everybody_sees(stage, ABSENT, 1)
    writer.finish()
    everybody_sees(stage, ABSENT, 1)


@race(mutants.cursors_unwatched)
def stream(stage: Stage) -> None:
    """psycopg's ``stream`` passes them by as well, and may write."""
    pk = make()
    warm(stage, pk)
    write = "UPDATE app_product SET version = version + 1 WHERE id = %s RETURNING id"

    def run() -> None:
        with connection.cursor() as cursor:
            assert [row[0] for row in cursor.stream(write, [pk])] == [pk]

    writer = stage.begin(run, hold_at=["after-commit"])
    writer.is_held()
    everybody_sees(stage, pk, 1)
    writer.finish()
    everybody_sees(stage, pk, 1)


@race(mutants.nobody_listens, mutants.no_intents)
def truncate(stage: Stage) -> None:
    """TRUNCATE takes every row of the table, and those that refer to it."""
    pk = make()
    crate = make(model=Crate, bay=Bay.objects.create())
    warm(stage, pk)
    warm(stage, crate, model=Crate)
    stage.run(lambda: sql("TRUNCATE app_product"))
    writer = stage.begin(lambda: sql("TRUNCATE app_bay CASCADE"), hold_at=["after-commit"])
    writer.is_held()
    everybody_sees(stage, crate, None, model=Crate)
    writer.finish()
    everybody_sees(stage, pk, None)
    everybody_sees(stage, crate, None, model=Crate)


@race(mutants.nobody_listens)
def flushall_in_the_middle_of_a_transaction(stage: Stage) -> None:
    """What the write set holds is here, not on the server."""
    pk = make()
    warm(stage, pk)

    def write() -> None:
        with transaction.atomic():
            bump(pk)
            here("updated")

    writer = stage.act(write, hold_at=["updated"])
    server().flushall()
    everybody_sees(stage, pk, 0)
    writer.finish()
    everybody_sees(stage, pk, 1)

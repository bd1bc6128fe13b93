"""The wrapped ends of transactions: there when needed, and Django's own behaviour unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import django
import pytest
from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.base import DatabaseWrapper as PostgreSQL
from django.db.backends.signals import connection_created
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper
from django.db.models import F, Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.transaction import Atomic
from django.test.utils import CaptureQueriesContext

from django_cacheaside.failpoints import armed
from django_cacheaside.orm.connecting import work_around
from django_cacheaside.orm.connection_state import state_of
from django_cacheaside.orm.net.wrapper import Net
from django_cacheaside.orm.wiring import wire
from tests.app.catalog import Cafe, Country, Item, ItemTag, Maker, Parcel, Tag
from tests.orm.world import Elsewhere, Server, in_cache, in_database, name

pytestmark = pytest.mark.usefixtures("databases")

WRAPPED = ("commit", "rollback", "set_autocommit", "close")


class Undo(Exception):  # noqa: N818  no error
    """Rolls a transaction back."""


@pytest.fixture(scope="module")
def bare(databases: None) -> Iterator[Elsewhere]:
    """A thread whose connections know nothing of us."""
    thread = Elsewhere()
    connection_created.disconnect(dispatch_uid="django_cacheaside")
    for alias in ("default", "sqlite"):
        thread(lambda alias=alias: connections[alias].ensure_connection())
    wire()
    assert not thread(lambda: connections["default"].execute_wrappers)
    yield thread
    thread.close()


@pytest.fixture
def item(db_alias: str) -> Item:
    return Item.objects.using(db_alias).create(name=name())


def renew(item: Item) -> None:
    """An UPDATE by primary key."""
    Item.objects.using(item._state.db).filter(pk=item.pk).update(name="new")


class TestInstallation:
    def test_is_idempotent(self, db_alias: str) -> None:
        connection = connections[db_alias]
        before = [getattr(connection, end) for end in WRAPPED]
        for _ in range(3):
            work_around(connection)
            wire()
        assert [getattr(connection, end) for end in WRAPPED] == before
        assert [type(wrapper) for wrapper in connection.execute_wrappers] == [Net]

    def test_outlasts_the_connection(self, db_alias: str) -> None:
        """The instance is worked around, and reconnects."""
        connection = connections[db_alias]
        connection.close()
        connection.ensure_connection()
        assert [type(wrapper) for wrapper in connection.execute_wrappers] == [Net]

    def test_reaches_a_connection_that_was_open_before(self, db_alias: str, item: Item, server: Server) -> None:
        """A project may read the database while it starts, before ``ready()``."""

        def early() -> set[Any]:
            connection_created.disconnect(dispatch_uid="django_cacheaside")
            connections[db_alias].ensure_connection()
            assert not connections[db_alias].execute_wrappers
            wire()
            told = set()
            with armed("after-intent", lambda: told.update(server.intents())), transaction.atomic(using=db_alias):
                renew(item)
            return told

        thread = Elsewhere()
        try:
            told = thread(early)
        finally:
            thread.close()
        assert {row for _, _, row in told} == {str(item.pk)}

    def test_patches_no_class(self, db_alias: str) -> None:
        connection = connections[db_alias]
        for end in WRAPPED:
            own, wrapped = getattr(type(connection), end), getattr(connection, end)
            assert own.__module__.startswith("django.db.backends.")
            assert wrapped.__wrapped__.__func__ is own
            assert (wrapped.__name__, wrapped.__doc__) == (own.__name__, own.__doc__)

    @pytest.mark.parametrize(
        "cls",
        [
            *(BaseDatabaseWrapper, PostgreSQL, SQLite, CursorWrapper, CursorDebugWrapper),
            *(Atomic, QuerySet, Model, ModelIterable),
        ],
    )
    def test_leaves_every_method_of(self, cls: type[Any]) -> None:
        ours = [key for key, value in vars(cls).items() if "cacheaside" in str(getattr(value, "__module__", ""))]
        assert ours == []


class TestExecuteWrappers:
    def test_a_block_takes_off_its_own(self, db_alias: str, item: Item) -> None:
        """Ours is the first: the context manager pops the last."""
        connection = connections[db_alias]
        seen = []

        def wrapper(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
            seen.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(wrapper):
            assert [type(one) for one in connection.execute_wrappers[:1]] == [Net]
            renew(item)
        assert len(seen) == 1
        assert [type(one) for one in connection.execute_wrappers] == [Net]

    def test_one_that_refuses_leaves_no_intent(self, db_alias: str, item: Item, server: Server) -> None:
        def refuse(*_: Any) -> None:
            raise PermissionError("no queries here")

        with connections[db_alias].execute_wrapper(refuse), pytest.raises(PermissionError, match="no queries here"):
            renew(item)
        assert server.intents() == set()
        renew(item)
        assert Item.cached.using(db_alias).get(pk=item.pk).name == "new"


class Log:
    """What happened in a scenario."""

    def __init__(self, db: str) -> None:
        self.db = db
        self.events: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.events.append(event)

    def hook(self, event: str, *, robust: bool = False, error: type[Exception] | None = None) -> None:
        """Register an ``on_commit`` hook."""

        def run() -> None:
            self(event)
            if error:
                raise error(event)

        transaction.on_commit(run, using=self.db, robust=robust)

    def attempt(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call; note the result, or the error's type and message."""
        try:
            self(function(*args, **kwargs))
        except Exception as error:
            self((type(error).__name__, str(error)))

    def atomic(self, **options: Any) -> Atomic:
        """A block in the scenario's database."""
        return transaction.atomic(using=self.db, **options)

    def create(self, **values: Any) -> Item:
        """Write something cached."""
        return Item.objects.using(self.db).create(**values)

    def count(self) -> None:
        """Note how many rows of the scenario's there are."""
        self(Item.objects.using(self.db).filter(name=self.name).count())

    name = "of a scenario"


def hooks_in_order(log: Log) -> None:
    log.hook("at once")
    with log.atomic():
        log.create()
        log.hook("1")
        with log.atomic():
            log.hook("2")
        log.hook("3")
        log("in the block")
    log("after the block")


def hooks_of_a_savepoint_rolled_back(log: Log) -> None:
    with log.atomic():
        log.hook("kept")
        with suppress(Undo), log.atomic():
            log.create()
            log.hook("dropped")
            raise Undo
    with suppress(Undo), log.atomic():
        log.hook("dropped too")
        raise Undo


def a_hook_that_raises(log: Log) -> None:
    def block() -> None:
        with log.atomic():
            log.create(name=log.name)
            log.hook("1")
            log.hook("2", error=ValueError)
            log.hook("3")

    log.attempt(block)
    log.count()


def a_robust_hook_that_raises(log: Log) -> None:
    with log.atomic():
        log.create()
        log.hook("1", robust=True, error=ValueError)
        log.hook("2")


def hooks_that_write(log: Log) -> None:
    def write() -> None:
        with log.atomic():
            log.create(name=log.name)
            log.hook("inner")
        log("outer")

    with log.atomic():
        log.create(name=log.name)
        transaction.on_commit(write, using=log.db)
    log.count()


def a_hook_without_autocommit(log: Log) -> None:
    transaction.set_autocommit(False, using=log.db)
    log.attempt(log.hook, "never")
    log.create(name=log.name)
    transaction.rollback(using=log.db)
    transaction.set_autocommit(True, using=log.db)
    log.count()


def savepoints(log: Log) -> None:
    create = getattr(transaction, "savepoint_create", None) or transaction.savepoint  # its name up to Django 6.0
    with log.atomic():
        log.create(name=log.name)
        sid = create(using=log.db)
        log.create(name=log.name)
        transaction.savepoint_rollback(sid, using=log.db)
        log.count()
        sid = create(using=log.db)
        log.create(name=log.name)
        transaction.savepoint_commit(sid, using=log.db)
        transaction.clean_savepoints(using=log.db)
    log.count()


def durable_blocks(log: Log) -> None:
    def nested() -> None:
        with log.atomic(), log.atomic(durable=True):
            pass

    log.attempt(nested)
    with log.atomic(durable=True), log.atomic():
        log.create(name=log.name)
    log.count()


def an_inner_block_without_savepoint(log: Log) -> None:
    def block() -> None:
        with log.atomic():
            with suppress(Undo), log.atomic(savepoint=False):
                log.create(name=log.name)
                raise Undo
            log(transaction.get_rollback(using=log.db))
            log.attempt(log.create)

    log.attempt(block)
    log.count()


def a_block_set_to_roll_back(log: Log) -> None:
    with log.atomic():
        log.create(name=log.name)
        log.hook("dropped")
        transaction.set_rollback(True, using=log.db)
        log.attempt(log.create)
    log.count()


def ends_inside_a_block(log: Log) -> None:
    with log.atomic():
        log.create(name=log.name)
        log.attempt(transaction.commit, using=log.db)
        log.attempt(transaction.rollback, using=log.db)
        log.attempt(transaction.set_autocommit, True, using=log.db)
        log.attempt(transaction.set_autocommit, False, using=log.db)
    log(transaction.get_autocommit(using=log.db))
    log.count()


def an_error_in_a_block(log: Log) -> None:
    def block() -> None:
        with log.atomic():
            row = log.create(name=log.name)
            with suppress(IntegrityError):
                Item.objects.using(log.db).create(slug=row.slug)
            log.attempt(log.create)

    log.attempt(block)
    log.count()


def an_error_in_autocommit(log: Log) -> None:
    row = log.create(name=log.name)
    try:
        Item.objects.using(log.db).create(slug=row.slug)
    except IntegrityError as error:
        log(type(error.__cause__).__name__)
    log(connections[log.db].in_atomic_block)
    log.count()


def a_commit_that_fails(log: Log) -> None:
    def block() -> None:
        with log.atomic():
            log.hook("never")
            row = log.create(name=log.name)
            ItemTag.objects.using(log.db).create(item=row, tag_id=-1)

    try:
        block()
    except IntegrityError as error:
        log(type(error.__cause__).__name__)
    log(connections[log.db].in_atomic_block)
    log.count()


def commits_and_rollbacks_without_autocommit(log: Log) -> None:
    transaction.set_autocommit(False, using=log.db)
    log.create(name=log.name)
    transaction.commit(using=log.db)
    log.create(name=log.name)
    transaction.rollback(using=log.db)
    with log.atomic():
        log.create(name=log.name)
    transaction.commit(using=log.db)
    transaction.set_autocommit(True, using=log.db)
    log(transaction.get_autocommit(using=log.db))
    log.count()


SCENARIOS = [
    *(hooks_in_order, hooks_of_a_savepoint_rolled_back, a_hook_that_raises, a_robust_hook_that_raises),
    *(hooks_that_write, a_hook_without_autocommit, savepoints, durable_blocks, an_inner_block_without_savepoint),
    *(a_block_set_to_roll_back, ends_inside_a_block, an_error_in_a_block, an_error_in_autocommit),
    *(a_commit_that_fails, commits_and_rollbacks_without_autocommit),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__.replace("_", "-"))
def test_is_as_without_us(db_alias: str, scenario: Callable[[Log], None], bare: Elsewhere, server: Server) -> None:
    """The same events in the same order, on a connection that knows nothing of us."""

    def play() -> list[Any]:
        Item.objects.using(db_alias).filter(name=Log.name).delete()
        log = Log(db_alias)
        scenario(log)
        return log.events

    django, ours = bare(play), play()
    assert ours == django
    assert ours
    assert server.intents() == set()
    state = state_of(connections[db_alias])
    assert not state.writes
    assert not state.has_written
    assert not state.tickets


# from Django 6.1 on, one batch is one statement in autocommit
BULK_CREATE = {"autocommit": 2} if django.VERSION >= (6, 0) else {}


class TestStatements:
    """As many statements as without us."""

    @pytest.mark.parametrize(
        ("call", "more"),
        [
            pytest.param(call, more, id=title)
            for title, (call, more) in {
                "create": (lambda db, row: Item.objects.using(db).create(), {"autocommit": 2}),
                "create-a-given-key": (lambda db, row: Country.objects.using(db).create(code=name()), {}),
                "create-a-UUID": (lambda db, row: Parcel.objects.using(db).create(), {}),
                "create-a-child": (lambda db, row: Cafe.objects.using(db).create(), {}),
                "create-what-is-not-cached": (lambda db, row: Tag.objects.using(db).create(), {}),
                "save": (lambda db, row: row.save(), {}),
                "save-some-fields": (lambda db, row: row.save(update_fields=["name"]), {}),
                "save-F": (lambda db, row: Item(pk=row.pk, slug=row.slug, stock=F("id")).save(using=db), {}),
                "get": (lambda db, row: Item.objects.using(db).get(pk=row.pk), {}),
                "get_or_create": (lambda db, row: Item.objects.using(db).get_or_create(pk=row.pk), {}),
                "get_or_create-creates": (lambda db, row: Item.objects.using(db).get_or_create(slug=name()), {}),
                "update_or_create": (lambda db, row: Item.objects.using(db).update_or_create(pk=row.pk), {}),
                "update": (lambda db, row: Item.objects.using(db).filter(pk=row.pk).update(stock=1), {}),
                "update-by-condition": (lambda db, row: Item.objects.using(db).filter(name=name()).update(stock=1), {}),
                "bulk_create": (lambda db, row: Item.objects.using(db).bulk_create([Item(), Item()]), BULK_CREATE),
                "bulk_update": (lambda db, row: Item.objects.using(db).bulk_update([row], ["name"]), {}),
                "delete": (lambda db, row: row.delete(), {}),
                "delete-a-queryset": (lambda db, row: Item.objects.using(db).filter(pk=row.pk).delete(), {}),
                "delete-a-parent": (lambda db, row: row.maker.delete(), {}),
                "m2m-add": (lambda db, row: row.labels.add(row.labels.create()), {}),
                "m2m-set-through": (lambda db, row: row.tags.set([Tag.objects.using(db).create()]), {}),
                "reverse-add": (lambda db, row: row.maker.item_set.add(row), {}),
                "reverse-clear": (lambda db, row: row.maker.item_set.clear(), {}),
                "iterate": (lambda db, row: list(Item.objects.using(db).filter(pk=row.pk).iterator()), {}),
                "select_for_update": (lambda db, row: _locked(db, row), {}),
            }.items()
        ],
    )
    @pytest.mark.parametrize("mode", ["autocommit", "atomic"])
    def test_of(self, db_alias: str, bare: Elsewhere, call: Any, more: dict[str, int], mode: str) -> None:
        """Except an INSERT in autocommit whose key only the database knows: BEGIN and COMMIT are ours."""

        def count() -> int:
            maker = Maker.objects.using(db_alias).create()
            row = Item.objects.using(db_alias).create(name=name(), maker=maker)
            row = Item.objects.using(db_alias).select_related("maker").get(pk=row.pk)
            with CaptureQueriesContext(connections[db_alias]) as queries:
                if mode == "atomic":
                    with transaction.atomic(using=db_alias):
                        call(db_alias, row)
                else:
                    call(db_alias, row)
            return len(queries)

        assert count() == bare(count) + more.get(mode, 0)


def _locked(db: str, row: Item) -> None:
    with transaction.atomic(using=db):
        Item.objects.using(db).select_for_update().get(pk=row.pk)


class TestAroundCommit:
    def test_hooks_run_when_everybody_sees_the_new_row(
        self, db_alias: str, item: Item, server: Server, elsewhere: Elsewhere
    ) -> None:
        """Released before any hook, so that one that raises can't keep the others' intents."""
        elsewhere(in_cache, Item, db_alias, [item.pk])
        seen = []

        def hook() -> None:
            seen.append(server.intents())
            seen.append(elsewhere(in_cache, Item, db_alias, [item.pk])[item.pk]["name"])
            raise ValueError("dropped hooks are Django's")

        def block() -> None:
            with transaction.atomic(using=db_alias):
                transaction.on_commit(hook, using=db_alias)
                renew(item)

        with pytest.raises(ValueError, match="dropped hooks"):
            block()
        assert seen == [set(), "new"]

    def test_a_commit_that_fails_releases(
        self, db_alias: str, item: Item, server: Server, elsewhere: Elsewhere
    ) -> None:
        """A deferred constraint: it raised, and the rollback after it succeeded."""
        told = set()

        def block() -> None:
            with transaction.atomic(using=db_alias):
                renew(item)
                ItemTag.objects.using(db_alias).create(item=item, tag_id=-1)

        with armed("after-intent", lambda: told.update(server.intents())), pytest.raises(IntegrityError):
            block()
        assert told
        assert server.intents() == set()
        assert elsewhere(in_cache, Item, db_alias, [item.pk])[item.pk]["name"] == item.name

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_before_commit_rolls_back(
        self, db_alias: str, item: Item, server: Server, error: type[BaseException]
    ) -> None:
        """``Atomic`` would not: it sees no error of the database's."""

        def interrupt() -> None:
            raise error

        def block() -> None:
            with transaction.atomic(using=db_alias):
                renew(item)

        with armed("before-commit", interrupt), pytest.raises(error):
            block()
        assert server.intents() == set()
        assert not connections[db_alias].in_atomic_block
        assert in_cache(Item, db_alias, [item.pk])[item.pk]["name"] == item.name
        renew(item)
        assert in_cache(Item, db_alias, [item.pk]) == in_database(Item, db_alias, [item.pk])

    def test_a_transaction_that_wrote_nothing_cached_tells_nothing(self, db_alias: str) -> None:
        reached = []
        with armed("before-intent", lambda: reached.append(1)):
            with transaction.atomic(using=db_alias):
                Tag.objects.using(db_alias).create()
                Item.objects.using(db_alias).first()
            Tag.objects.using(db_alias).create()
        assert reached == []

    def test_a_connection_closed_in_a_transaction_forgets_it(self, db_alias: str, item: Item, server: Server) -> None:
        """Nothing was committed, and nothing of it reaches the next transaction."""
        transaction.set_autocommit(False, using=db_alias)
        renew(item)
        assert state_of(connections[db_alias]).writes
        connections[db_alias].close()
        assert not state_of(connections[db_alias]).writes
        assert connections[db_alias].get_autocommit()
        assert server.intents() == set()
        assert in_cache(Item, db_alias, [item.pk])[item.pk]["name"] == item.name

    def test_a_lost_connection_is_an_error_of_the_database(self, server: Server) -> None:
        """COMMIT's outcome is unknown: the intents stay, readers go past the cache."""
        item = Item.objects.create(name=name())
        told = set()

        def lose() -> None:
            told.update(server.intents())
            connections["default"].connection.pgconn.finish()

        def block() -> None:
            with transaction.atomic():
                renew(item)

        with armed("before-commit", lose), pytest.raises(DatabaseError):
            block()
        assert server.intents() == told != set()
        connections["default"].close()
        assert in_cache(Item, "default", [item.pk])[item.pk]["name"] == item.name
        server.empty()

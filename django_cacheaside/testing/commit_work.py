"""The commit work inside ``TestCase``, whose transaction is rolled back and never committed.

Within ``commit_work()`` that transaction stands for the database itself. Statements outside the test's own ``atomic``
blocks are autocommit, and the end of an outermost one is a COMMIT: the code that runs is production's. Django tells a
test's transaction from others by itself (``Atomic._from_testcase``), so that nothing can happen outside a test.

What is filled meanwhile was never committed. So the cached models' epochs are moved as soon as any of it is undone,
and when the block ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.asyncio import async_unsafe

from django_cacheaside.orm import runtime
from django_cacheaside.orm.commit_work import around_commit, install_commit_work, settle_failed
from django_cacheaside.orm.connection_state import is_in_transaction, state_of
from django_cacheaside.testing.spaces import drop_all, drop_used, used_spaces
from django_cacheaside.testing.transactions import is_in_test, is_outermost_in_test

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]


@contextmanager
def commit_work() -> Iterator[None]:
    """Have the cache follow what happens inside a ``TestCase``, as if it were committed.

    For all connections of this thread. The block begins with an empty cache and leaves nothing in it: two round trips.
    After it, reads inside the same test go to the database, as they do without it. Where there is no test's
    transaction (``TransactionTestCase``) it does nothing: everything commits by itself. Blocks may be nested.

    Hooks of ``transaction.on_commit`` are run by Django's ``captureOnCommitCallbacks``, inside the block.

    Raises:
        SynchronousOnlyOperation: In a coroutine, whose thread has not the test's connections. Enter it in ``setUp``, or
            by the fixture.
    """
    with ExitStack() as stack:
        _follow_all(stack)
        yield


@async_unsafe("You cannot enter commit_work() from an async context: enter it in setUp(), or use the pytest fixture.")
def _follow_all(stack: ExitStack) -> None:
    for connection in connections.all():
        if state_of(connection).counts_as_autocommit is None:
            stack.enter_context(_follow(connection))


def settle() -> None:
    """Do the commit work that is due on this thread's connections. Nothing outside ``commit_work()``.

    An ``atomic(savepoint=False)``, as ``delete()`` opens one, ends without a statement: the next look at the
    transaction finds out.
    """
    for connection in connections.all(initialized_only=True):
        is_in_transaction(connection, state_of(connection))


@contextmanager
def _follow(connection: BaseDatabaseWrapper) -> Iterator[None]:
    install_commit_work(connection)  # on one that is not connected yet: else it would lie over ours, and end with it
    rehearsal = _Rehearsal(connection)
    state = state_of(connection)
    rollback = connection.rollback

    @wraps(rollback)
    def rollback_and_empty() -> None:
        rollback()
        rehearsal.empty()

    if is_outermost_in_test(connection):
        rehearsal.begin()
    state.counts_as_autocommit = rehearsal.counts_as_autocommit
    connection.execute_wrappers.insert(0, rehearsal)
    connection.rollback = rollback_and_empty  # type: ignore[method-assign]
    try:
        yield
    finally:
        connection.rollback = rollback  # type: ignore[method-assign]
        connection.execute_wrappers.remove(rehearsal)
        state.counts_as_autocommit = None
        rehearsal.empty()
        if is_in_test(connection):
            # the test goes on, and its rows are still nobody else's: nothing is filled until it is rolled back
            state.has_written = True
            for space in used_spaces(runtime.current(), connection):
                state.writes.add_model(space)


class _Rehearsal:
    """One connection in ``commit_work()``: its execute wrapper, and the answer to ``counts_as_autocommit``."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._state = state_of(connection)
        self._used: list[runtime.Runtime] = []
        """Those through which rows of the test's transaction may have been filled: a change of settings makes more."""
        self._untouched: set[str] = set()
        """Savepoints since which nothing has happened outside a block of the test's own."""

    def begin(self) -> None:
        """Drop what earlier tests have committed and cached."""
        drop_all(runtime.current(), self._connection)
        self._use_runtime()

    def empty(self) -> None:
        """Drop what was filled: it is undone, or will be. One round trip, none if nothing was read or written."""
        used, self._used = self._used, []
        for one in used:
            drop_used(one, self._connection)
            if one is not runtime.current():
                one.close()

    def counts_as_autocommit(self) -> bool:
        """Does what comes now commit by itself? What is due from the block that has ended is done first."""
        if not is_in_test(self._connection):
            return False
        self._use_runtime()
        if not is_outermost_in_test(self._connection) or self._connection.needs_rollback:
            return False
        if self._state.has_written:
            self._untouched.clear()
            around_commit(self._connection, _nothing, roll_back=_nothing)
        return True

    def _use_runtime(self) -> None:
        current = runtime.current()
        if current not in self._used:
            self._used.append(current)

    def __call__(self, execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
        def run() -> Any:
            return execute(sql, params, many, context)

        if not is_outermost_in_test(self._connection):
            return run()
        match str(sql).rpartition(" ")[::2]:
            case "SAVEPOINT", name:
                self.counts_as_autocommit()
                result = run()
                self._untouched.add(name)
                return result
            case "RELEASE SAVEPOINT", name:
                self._untouched.clear()
                return around_commit(self._connection, run, roll_back=lambda: self._roll_back_to(name))
            case "ROLLBACK TO SAVEPOINT", name:
                result = run()
                settle_failed(self._state)
                if name not in self._untouched:
                    self.empty()
                return result
        self._untouched.clear()
        return run()

    def _roll_back_to(self, name: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(f"ROLLBACK TO SAVEPOINT {name}")


def _nothing() -> None:
    """The test's transaction is not committed."""

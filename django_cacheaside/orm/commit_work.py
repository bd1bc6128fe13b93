"""The one place where a connection is wrapped: intents before COMMIT, release after it.

Django has no hook before a commit and none at a rollback, and a user's ``on_commit`` hook that raises drops all later
ones. So ``commit``, ``rollback``, ``set_autocommit`` and ``close`` of the connection *instance* are wrapped; its
class is not touched. Only what the wrapped method itself raises may leave it: with any other Exception ``Atomic``
would commit, or believe a committed transaction failed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cacheaside.engine.debts import Ticket
from django_cacheaside.failpoints import reach
from django_cacheaside.orm import runtime
from django_cacheaside.orm.connection_state import ConnectionState, is_in_transaction, state_of
from django_cacheaside.orm.journal.record import LostInvalidationError, keep
from django_cacheaside.store.writes import Writes

T = TypeVar("T")

_INSTALLED = "_cacheaside_commit_work"


def install_commit_work(connection: BaseDatabaseWrapper) -> None:
    """Wrap a connection's ends of transactions. Idempotent."""
    if connection.__dict__.get(_INSTALLED):
        return
    connection.__dict__[_INSTALLED] = True
    state = state_of(connection)
    commit, rollback = connection.commit, connection.rollback
    set_autocommit, close = connection.set_autocommit, connection.close

    @wraps(commit)
    def commit_with_intents() -> None:
        if connection.in_atomic_block:  # refused by Django
            return commit()
        return around_commit(connection, commit, roll_back=rollback)

    @wraps(rollback)
    def rollback_and_forget() -> None:
        rollback()
        settle_failed(state)

    @wraps(set_autocommit)
    def set_autocommit_with_intents(autocommit: bool, *args: Any, **kwargs: Any) -> None:  # noqa: FBT001  Django's own
        # turning it on commits what is open, on SQLite
        if autocommit and state.writes and not connection.in_atomic_block and not connection.autocommit:
            return around_commit(connection, lambda: set_autocommit(autocommit, *args, **kwargs), roll_back=rollback)
        return set_autocommit(autocommit, *args, **kwargs)

    @wraps(close)
    def close_and_forget() -> None:
        try:
            close()
        finally:
            forget_transaction(state)

    connection.commit = commit_with_intents  # type: ignore[method-assign]
    connection.rollback = rollback_and_forget  # type: ignore[method-assign]
    connection.set_autocommit = set_autocommit_with_intents  # type: ignore[method-assign]
    connection.close = close_and_forget  # type: ignore[method-assign]


def around_commit(connection: BaseDatabaseWrapper, commit: Callable[[], T], *, roll_back: Callable[[], object]) -> T:
    """Place the intents, commit, release. Two round trips if anything cached was written, none if not.

    What the server can't be told goes into the journal, in this transaction.

    Args:
        commit: Sends COMMIT.
        roll_back: Ends the transaction if we are interrupted before COMMIT is sent.

    Raises:
        LostInvalidationError: The server does not answer and the journal takes no entry. COMMIT was not sent.
    """
    state = state_of(connection)
    if not state.writes:
        result = commit()
        state.end_transaction()
        return result
    invalidator = runtime.current().invalidator
    try:
        ticket = invalidator.before(state.writes)
        # on the list until its outcome is known: a COMMIT that raised may yet be rolled back, sent again, or lost
        state.tickets.append(ticket)
        if not ticket.is_placed or runtime.current().settings.JOURNAL == "always":
            keep(connection, state.writes)
        reach("before-commit")
    except LostInvalidationError:
        raise  # as any error of COMMIT's: the transaction is rolled back by whoever sent it
    except BaseException:
        roll_back()
        settle_failed(state)
        raise
    try:
        result = commit()
    except DatabaseError:
        raise
    except BaseException:
        forget_transaction(state)
        raise
    settled = _end(state)
    for older in settled[:-1]:
        invalidator.failed(older)
    invalidator.committed(ticket)
    runtime.current().written.load_again(ticket.writes)
    return result


def around_statement(
    connection: BaseDatabaseWrapper,
    writes: Writes,
    execute: Callable[[], T],
    *,
    in_transaction: Callable[[], T] | None = None,
) -> T:
    """In autocommit the statement is the transaction: intent, statement, release, without BEGIN.

    Args:
        in_transaction: Does the same in a transaction: for the journal, if the server can't be told. None where there
            can be none, or is one: then the entry is committed first, and is not relayed before the statement's end.

    Raises:
        LostInvalidationError: The server does not answer and the journal takes no entry. Nothing was executed.
    """
    current = runtime.current()
    invalidator = current.invalidator
    if in_transaction is not None and current.settings.JOURNAL == "always":
        return in_transaction()
    ticket = invalidator.before(writes)
    if not ticket.is_placed:
        if in_transaction is not None:
            invalidator.forget(ticket)
            return in_transaction()
        if not is_in_transaction(connection, state_of(connection)):
            try:
                keep(connection, writes, due_in_s=current.settings.INTENT)
            except BaseException:
                invalidator.forget(ticket)
                raise
    try:
        result = execute()
    except Exception:
        # a connection that answers has no statement under way: it happened or it failed, and release serves both; in a
        # test's transaction, which answers nothing from now on, it failed
        is_in_test = connection.in_atomic_block and state_of(connection).counts_as_autocommit is not None
        if is_in_test or connection.is_usable():
            invalidator.failed(ticket)
        else:
            invalidator.unknown(ticket)
        raise
    except BaseException:
        invalidator.unknown(ticket)
        raise
    invalidator.committed(ticket)
    current.written.load_again(writes)
    return result


def settle_failed(state: ConnectionState) -> None:
    """The transaction was rolled back: COMMITs that raised have surely failed."""
    for ticket in _end(state):
        runtime.current().invalidator.failed(ticket)


def forget_transaction(state: ConnectionState) -> None:
    """The connection is gone, or new: COMMITs that raised may have happened or not, and their intents run out."""
    for ticket in _end(state):
        runtime.current().invalidator.unknown(ticket)


def _end(state: ConnectionState) -> list[Ticket]:
    tickets, state.tickets = state.tickets, []
    state.end_transaction()
    return tickets

"""The net: every statement of a connection passes here, whoever wrote it.

The statement is the row-level knowledge. Inside a transaction its keys join the write set and wait for COMMIT; in
autocommit the statement is the transaction. A plan is cached by the statement's text: a SELECT costs a look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from django_cacheaside.orm import runtime
from django_cacheaside.orm.commit_work import around_commit, around_statement, settle_failed
from django_cacheaside.orm.connection_state import is_in_transaction, sees_snapshot, state_of, transaction_is_open
from django_cacheaside.orm.net.declared import ask_after, ask_before, ask_parents
from django_cacheaside.orm.net.plan import Plan, Written, add_values, make_plan, written_by
from django_cacheaside.orm.net.relations import leading_relations
from django_cacheaside.orm.net.returned import can_return, finish, returned_columns, returned_values, with_returning
from django_cacheaside.orm.net.statement import Verb, read_statement
from django_cacheaside.orm.net.tables import Reader, Tables
from django_cacheaside.orm.registry import registry

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]
Run = Callable[..., Any]
"""Runs a statement, with its text changed if a function is given that changes it."""

MOST_PLANS = 2000
LONGEST_KEPT_TEXT = 5000
"""Characters above which a text is read anew each time: bulk inserts differ in length and would fill the cache."""

_READS = Plan(read_statement("SELECT 1"))
_plans: dict[Any, Plan] = {}
_tables: Tables | None = None


def forget_plans() -> None:
    """A model was added: who reads which table has changed."""
    global _tables
    _tables = None
    _plans.clear()


class Net:
    """The execute wrapper of one connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._state = state_of(connection)
        self._cursors = self._state.cursors if connection.vendor == "sqlite" else None
        self._leading: frozenset[str] | None = None

    def __call__(self, execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
        if self._cursors is not None:
            self._cursors.add(context["cursor"])
        plan = _plans.get(sql) if type(sql) is str else None
        if plan is None:
            plan = _plan_of(sql, self._connection)
        if plan is _READS:
            return execute(sql, params, many, context)

        def run(rewrite: Callable[[str], str] | None = None) -> Any:
            return execute(sql if rewrite is None else rewrite(sql), params, many, context)

        try:
            if plan.is_write:
                if plan.led_to:
                    plan = self._led(plan, sql)
                return self.write(plan, params, run, many=many, cursor=context["cursor"])
            return self._control(plan, run)
        except DatabaseError:
            self._settle_error(plan)
            raise

    def write(self, plan: Plan, params: Any, run: Run, *, many: bool, cursor: CursorWrapper | None) -> Any:
        """Run a statement that writes; see to the keys of what it writes.

        Raises:
            ImproperlyConfigured: The namespace of what it writes can't be told. It was not run.
        """
        with runtime.current().one_namespace() if plan.readers or plan.models else nullcontext():
            return self._write(plan, params, run, many=many, cursor=cursor)

    def _write(self, plan: Plan, params: Any, run: Run, *, many: bool, cursor: CursorWrapper | None) -> Any:
        connection, state = self._connection, self._state
        written = written_by(plan, params, connection, many=many)
        if is_in_transaction(connection, state):
            had_written, state.has_written = state.has_written, True
            state.writes.absorb(written.writes)
            if written.has_questions:
                return self._write_and_ask(plan, written, run, cursor, had_written=had_written)
            result = self._maybe_committing(plan, run) if plan.may_commit else run()
            self._look_at_transaction(plan)
            return result
        if written.has_questions and self._can_ask(plan, written):
            # the keys must be voided before COMMIT, and only the database knows them: look in between
            return self._write_in_transaction(plan, params, run, many=many, cursor=cursor)
        writes = written.writes
        for reader in (*written.untold, *written.asked):
            add_values(writes, reader, None, connection)
        for unknown in written.unknown:
            unknown.drop(writes)
        if not writes:
            result = run()
        elif plan.statement.verb in _ROWS and connections[connection.alias] is connection:

            def in_transaction() -> Any:
                return self._write_in_transaction(plan, params, run, many=many, cursor=cursor)

            result = around_statement(
                connection, writes, lambda: self._to_its_end(run, cursor), in_transaction=in_transaction
            )
        else:
            result = around_statement(connection, writes, lambda: self._to_its_end(run, cursor))
        self._look_at_transaction(plan)
        return result

    def _write_in_transaction(
        self, plan: Plan, params: Any, run: Run, *, many: bool, cursor: CursorWrapper | None
    ) -> Any:
        def to_its_end(*rewrite: Callable[[str], str]) -> Any:
            return self._to_its_end(lambda: run(*rewrite), cursor)

        # SQLite refuses a COMMIT before the last row that a statement returns was read
        with transaction.atomic(using=self._connection.alias):
            return self._write(plan, params, to_its_end, many=many, cursor=cursor)

    def _write_and_ask(
        self, plan: Plan, written: Written, run: Run, cursor: CursorWrapper | None, *, had_written: bool
    ) -> Any:
        """In a transaction: run a statement, and learn from the database what its parameters don't tell."""
        connection, statement, writes = self._connection, plan.statement, self._state.writes
        for unknown in written.unknown:
            if unknown.before:
                ask_before(writes, unknown, connection, had_written=had_written)
        if written.asked and cursor is not None:
            result = run(lambda sql: with_returning(sql, statement, written.asked))
            learnt = returned_columns(written.asked, cursor)
        else:
            result = self._maybe_committing(plan, run) if plan.may_commit else run()
            learnt = self._learnt(plan, written.untold, cursor)
            learnt.update(dict.fromkeys(written.asked))
        for reader, values in learnt.items():
            add_values(writes, reader, values, connection)
        for unknown in written.unknown:
            if unknown.pks is None:
                unknown.pks = learnt.get(unknown.reader)
            if unknown.after:
                ask_after(writes, unknown, connection)
            if unknown.inherited:
                ask_parents(writes, unknown, connection, sees_snapshot=lambda: sees_snapshot(connection, self._state))
        self._look_at_transaction(plan)
        return result

    def _to_its_end(self, run: Run, cursor: CursorWrapper | None) -> Any:
        """Run a statement in autocommit until it is committed: to SQLite that is when its last row was read."""
        result = run()
        if self._cursors is not None and cursor is not None and cursor.description is not None:
            finish(cursor)
        return result

    def _led(self, plan: Plan, sql: Any) -> Plan:
        """The plan of a statement that may write cached tables by way of a view or another relation of no model."""
        if plan.statement.implicit_commit:
            self._leading = None  # it may make one
            return plan
        if self._leading is None:
            self._leading = leading_relations(self._connection)
        relations = self._leading
        if relations is None or plan.names_one_of(relations, _text_of(sql, self._connection)):
            return replace(plan, models=plan.led_to)
        return plan

    def plan(self, text: Any) -> Plan:
        """What a statement that passes the execute wrappers by would do."""
        return _plan_of(text, self._connection)

    def _can_ask(self, plan: Plan, written: Written) -> bool:
        """Is a transaction of its own worth opening for a statement in autocommit?"""
        if connections[self._connection.alias] is not self._connection:
            return False  # atomic() would open it on another connection
        is_told = all(can_return(plan.statement, reader, self._connection) for reader in written.untold)
        return is_told if written.untold else bool(written.asked) or any(one.can_be_asked for one in written.unknown)

    def _learnt(
        self, plan: Plan, untold: list[Reader], cursor: CursorWrapper | None
    ) -> dict[Reader, Sequence[object] | None]:
        """The primary keys of the rows that an INSERT has just made, by the models that read them."""
        statement, connection = plan.statement, self._connection
        values_of: dict[str, Sequence[object] | None] = {}
        learnt: dict[Reader, Sequence[object] | None] = {}
        for reader in untold:
            column = reader.pk_column
            values = None
            if cursor is not None and column is not None and can_return(statement, reader, connection):
                if column not in values_of:
                    values_of[column] = returned_values(statement, column, cursor)
                values = values_of[column]
            learnt[reader] = values
        return learnt

    def _control(self, plan: Plan, run: Run) -> Any:
        """Run a statement that begins, ends or shapes a transaction, or does nothing to rows."""
        connection, state, verb = self._connection, self._state, plan.statement.verb
        was_snapshot = state.is_snapshot
        if verb is Verb.COMMIT:
            result = around_commit(connection, run, roll_back=connection.rollback)
        elif verb is Verb.ROLLBACK:
            result = run()
            settle_failed(state)
        elif verb is Verb.PREPARE:
            # nothing is committed yet, and COMMIT PREPARED takes every model
            result = run()
            state.end_transaction()
        elif plan.may_commit:
            if plan.statement.implicit_commit and is_in_transaction(connection, state):
                # LOCK and DDL: others' loads may wait for this transaction, which must then never wait for them
                state.has_written = True
            result = self._maybe_committing(plan, run)
            if plan.releases and transaction_is_open(connection) is False:
                state.end_transaction()  # it was the outermost savepoint, and SQLite has committed
        else:
            result = run()
        if verb is Verb.BEGIN or plan.chains:
            state.is_in_raw_transaction = True
            state.is_snapshot = was_snapshot  # a chained one keeps the level of the one that ended
        self._look_at_transaction(plan)
        return result

    def _maybe_committing(self, plan: Plan, run: Run) -> Any:
        """A statement that some databases commit at: intents around it; the write set is kept for a COMMIT to come."""
        if not self._state.writes or (plan.releases and not self._commits_at_release()):
            return run()
        return around_statement(self._connection, self._state.writes.copy(), run)

    def _commits_at_release(self) -> bool:
        """SQLite commits when the outermost savepoint is released, unless a BEGIN came before it, as Django's does."""
        connection = self._connection
        return connection.vendor == "sqlite" and not (connection.in_atomic_block and connection.commit_on_exit)

    def _settle_error(self, plan: Plan) -> None:
        """A statement failed. If it was the COMMIT of a transaction that BEGIN had opened, that one is over."""
        was_open = self._state.is_in_raw_transaction
        self._look_at_transaction(plan)
        if was_open and not self._state.is_in_raw_transaction and not self._connection.in_atomic_block:
            settle_failed(self._state)

    def _look_at_transaction(self, plan: Plan) -> None:
        """Several statements in one text, procedures and savepoints may have begun or ended a transaction unseen."""
        if plan.statement.verb in _TELLING:
            return
        state = self._state
        if plan.statement.verb is Verb.ISOLATION or plan.statement.isolation:
            state.is_snapshot = True
            state.default_is_snapshot = None
        is_open = transaction_is_open(self._connection)
        if is_open is not None:
            state.is_in_raw_transaction = is_open


_ROWS = frozenset({Verb.INSERT, Verb.UPDATE, Verb.DELETE})
_TELLING = frozenset({Verb.READ, Verb.INSERT, Verb.UPDATE, Verb.DELETE})


def _plan_of(sql: Any, connection: BaseDatabaseWrapper) -> Plan:
    global _tables
    if _tables is None:
        _tables = Tables(registry)
    text = _text_of(sql, connection)
    statement = read_statement(text)
    plan = _READS if statement.verb is Verb.READ else make_plan(statement, text, _tables)
    if type(sql) is str and len(sql) <= LONGEST_KEPT_TEXT:
        if len(_plans) >= MOST_PLANS:
            _plans.clear()
        _plans[sql] = plan
    return plan


def _text_of(sql: Any, connection: BaseDatabaseWrapper) -> str:
    """The statement's text, of whatever the driver takes for one."""
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    if hasattr(sql, "as_string"):  # psycopg's composed SQL
        return str(sql.as_string(connection.connection))
    return str(sql)


def net_of(connection: BaseDatabaseWrapper) -> Net:
    """The net of a connection that is worked around."""
    return next(wrapper for wrapper in connection.execute_wrappers if isinstance(wrapper, Net))

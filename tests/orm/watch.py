"""One run of one form of write, watched: by the server, by the writer itself, and by a reader in a second process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections, transaction
from django.db.models import Model

from django_cacheaside.failpoints import armed
from django_cacheaside.orm import runtime
from django_cacheaside.orm.connection_state import state_of
from django_cacheaside.orm.databases import identity
from django_cacheaside.orm.registry import registry
from tests.orm.process import Process
from tests.orm.world import MODEL, Served, Server, World, ident, in_cache, in_database, served
from tests.orm.writes import AUTOCOMMIT, ROLLBACK, ROWS, Form

Rows = dict[Any, dict[str, Any]]
Check = Callable[[Form, str, str], None]


class Undo(Exception):  # noqa: N818  no error
    """Rolls a transaction back."""


class Watch:
    """What was there before, what the server was told, what is there after."""

    def __init__(self, form: Form, db: str, server: Server, second_process: Process) -> None:
        self.world = World(db)
        self.db = db
        self.server = server
        self.second_process = second_process
        self.arguments = self.world.prepared_for(form.act)
        self.expected = form.expects(db)
        prepared = {type(row)._meta.concrete_model for row in self.arguments.values() if isinstance(row, Model)}
        # of a form that takes every model only the prepared rows are compared
        asked = [*([] if callable(form.expected) else self.expected), *prepared]
        self.models = [model for model in dict.fromkeys(asked) if registry.get(model)]
        self.told: set[tuple[str, str, str]] = set()

    def warm(self) -> None:
        """Have the second process fill the rows concerned, those that are missing included."""
        self.pks = {model: self.world.concerned(model) for model in self.models}
        self.server.empty()
        for model, pks in self.pks.items():
            self.served(model, pks)
            if is_cached(model):
                wanted = {ident(model, self.db, pk) for pk in pks}
                assert self.server.warm_rows(model, self.db) == wanted, f"{model.__name__} is not warm"
        self.before = {model: in_database(model, self.db) for model in self.models}

    def served(self, model: type[Model], pks: list[Any]) -> Served:
        """What the second process is served."""
        return self.second_process(served, model._meta.label, self.db, pks)

    def run(self, act: Callable[..., Any]) -> None:
        """Execute the form; note the intents that stand at each COMMIT."""
        with self.listening():
            act(**self.arguments)

    def listening(self) -> Any:
        """Note the intents that stand at each COMMIT inside the block."""
        return armed("after-intent", lambda: self.told.update(self.server.intents()))

    def changed(self, model: type[Model]) -> set[Any]:
        """The rows that are different in the database now."""
        before, after = self.before[model], in_database(model, self.db)
        return {pk for pk in before.keys() | after.keys() if before.get(pk) != after.get(pk)}

    def keys_expected(self) -> set[tuple[str, str, str]]:
        """What the server should have been told."""
        here = identity(connections[self.db])
        keys = set()
        for model, what in self.expected.items():
            if what == MODEL:
                place = runtime.current().place(registry.for_model(model), connections[self.db])
                tags = [space.tag[1:-1].partition("@")[0] for space in place.spaces]  # its declared keys' too
                keys.update((label, here, MODEL) for label in tags)
                continue
            rows = self.changed(model) if what == ROWS else what(self.world)
            assert rows, f"the form changed no {model.__name__}"
            keys.update((model._meta.label_lower, here, ident(model, self.db, pk)) for pk in rows)
        return keys

    def assert_told_what_was_written(self) -> None:
        """Each key that is concerned, and no other."""
        wanted = self.keys_expected()
        assert self.told == wanted, f"missed {wanted - self.told}, dropped in vain {self.told - wanted}"

    def assert_own_writes_are_seen(self) -> None:
        """Inside the transaction its own reads are the database's."""
        for model, pks in self.pks.items():
            assert_same("the writer", in_cache(model, self.db, pks), in_database(model, self.db, pks))

    def assert_nobody_else_sees_it(self) -> None:
        """What is not committed. The second process reads nothing but the cache: a TRUNCATE locks the table."""
        for model, pks in self.pks.items():
            if is_cached(model):
                seen = self.served(model, pks)
                assert_same("the second process, before COMMIT,", seen.rows, self._before(model))
                assert seen.statements == 0, f"it found {model.__name__} not cached before COMMIT"

    def assert_nothing_was_lost(self, *, is_still_cached: bool) -> None:
        """After a ROLLBACK: the rows of before, and all of them where they were, in the cache."""
        for model, pks in self.pks.items():
            seen = self.served(model, pks)
            assert_same("the second process, after ROLLBACK,", seen.rows, self._before(model))
            if is_still_cached and is_cached(model):
                assert seen.statements == 0, f"the rollback dropped {model.__name__}"

    def assert_everybody_sees_it(self) -> None:
        """After COMMIT the second process reads what the database holds: at once, and what it has filled then."""
        for model, pks in self.pks.items():
            wanted = in_database(model, self.db, pks)
            assert_same("the second process, after COMMIT,", self.served(model, pks).rows, wanted)
            again = self.served(model, pks)
            assert_same("the second process, after its fill,", again.rows, wanted)
            own = served(model._meta.label, self.db, pks)
            assert_same("the writer, after COMMIT,", own.rows, wanted)
            if is_cached(model):
                assert again.statements == 0, f"{model.__name__} can't be filled after COMMIT"
                # while keys wait for a COMMIT of this connection, it reads their rows from the database
                is_waiting = bool(state_of(connections[self.db]).writes)
                assert is_waiting or own.statements == 0, f"the writer can't use the {model.__name__} filled elsewhere"

    def _before(self, model: type[Model]) -> Rows:
        return {pk: row for pk, row in self.before[model].items() if pk in self.pks[model]}


def is_cached(model: type[Model]) -> bool:
    """Composite primary keys are not: their reads go to the database."""
    return len(model._meta.pk_fields) == 1


def assert_same(who: str, seen: Rows, wanted: Rows) -> None:
    """The same rows and columns, or an error that shows the rows which differ."""
    wrong = {pk: (seen.get(pk), wanted.get(pk)) for pk in seen.keys() | wanted.keys() if seen.get(pk) != wanted.get(pk)}
    assert not wrong, f"{who} saw other rows than the database's (seen, there): {wrong}"


def check(form: Form, db: str, mode: str, server: Server, second_process: Process) -> None:
    """Execute a form: no row is missed, none is dropped in vain, and none is lost by a rollback."""
    run = Watch(form, db, server, second_process)
    run.warm()
    if mode == AUTOCOMMIT:
        run.run(form.act)
    else:
        try:
            with run.listening(), transaction.atomic(using=db):
                form.act(**run.arguments)
                assert form.is_early or run.told == set(), f"told without a COMMIT: {run.told}"
                run.assert_own_writes_are_seen()
                if not form.is_early:
                    run.assert_nobody_else_sees_it()
                if mode == ROLLBACK:
                    raise Undo
        except Undo:
            assert form.is_early or run.told == set(), f"told without a COMMIT: {run.told}"
            run.assert_nothing_was_lost(is_still_cached=not form.is_early)
            return
    run.assert_everybody_sees_it()
    run.assert_told_what_was_written()
    assert run.server.intents() == set(), "intents are left behind"

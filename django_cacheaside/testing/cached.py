"""What the cache holds of rows: asserted as a reader would judge it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_cacheaside.exceptions import UndecodableEntryError
from django_cacheaside.orm import runtime
from django_cacheaside.orm.connection_state import state_of
from django_cacheaside.orm.registry import refuse_no_model, registry
from django_cacheaside.orm.rows import RowSource
from django_cacheaside.store.acts import Seen
from django_cacheaside.store.envelope import HEADER_SIZE, Found, judge
from django_cacheaside.testing.commit_work import settle
from django_cacheaside.testing.round_trips import uncounted
from django_cacheaside.testing.spaces import drop_all
from django_cacheaside.testing.transactions import is_in_test


def assert_cached(what: Model | type[Model], *pks: Any, using: str | None = None) -> None:
    """Fail unless the next read of each row would be a hit.

        assert_cached(product)
        assert_cached(Product, 1, 2)

    One round trip, which ``assert_round_trips`` does not count.

    Args:
        using: The database; by default the instance's own, or the router's choice for writes.

    Raises:
        AssertionError: One would not; the message says why, for each.
        LookupError: The model is not cached; the message lists those that are.
        StoreUnavailableError: The server does not answer.
        TypeError, ValueError: No row is named, or none that can be cached by its primary key.
    """
    rows = _Rows(what, pks, using)
    wrong = [f"{row} is not cached: {why}." for row, is_hit, why in rows.judged() if not is_hit]
    if wrong:
        wrong.extend(rows.hints())
    wrong.extend(rows.obstacles())
    if wrong:
        raise AssertionError("\n".join(wrong))


def assert_not_cached(what: Model | type[Model], *pks: Any, using: str | None = None) -> None:
    """Fail if the entry of one of the rows could be served. That there is no such row may be cached.

    Arguments, cost and errors as for ``assert_cached``. A deleted instance has no primary key: keep it, and name the
    model.
    """
    wrong = [f"{row} is cached." for row, is_hit, _ in _Rows(what, pks, using).judged() if is_hit]
    if wrong:
        raise AssertionError("\n".join(wrong))


def empty_cache() -> None:
    """Drop what is cached of all models, in every database: the next read of each row is a miss.

    Of several namespaces, those that this process has used, and the one in force.

    By the models' epochs: O(1) a model, one round trip a database, and nothing else on the server is touched. In a
    transaction too it is done at once.

    Raises:
        ImproperlyConfigured: The settings are wrong.
    """
    settle()
    with uncounted():
        for connection in connections.all():
            drop_all(runtime.current(), connection)


class _Rows:
    """Rows of one model in one database, as an assertion names them."""

    def __init__(self, what: Model | type[Model], pks: Sequence[Any], using: str | None) -> None:
        if isinstance(what, Model):
            if pks:
                raise TypeError("An instance is one row: name the model to assert several, (Model, pk, pk).")
            model, pks, using = type(what), (what.pk,), using or what._state.db
        else:
            refuse_no_model(what, call="(instance), or (Model, pk, pk)")
            model = what
        if not pks:
            raise TypeError("No row is named: (instance), or (Model, pk, pk).")
        registration = registry.for_model(model)
        self._label = registration.model._meta.object_name
        self._connection: BaseDatabaseWrapper = connections[using or router.db_for_write(model)]
        self._runtime = runtime.current()
        place = self._runtime.place(registration, self._connection)
        if place.source is None:
            raise ValueError(f"{self._label} has a primary key of a kind that is not cached.")
        self._source: RowSource = place.source
        self._is_agreed = True
        self._pks = [place.source.key.value(pk) for pk in pks]
        for pk, value in zip(pks, self._pks, strict=True):
            if value is None:
                raise ValueError(f"{pk!r} is no primary key of {self._label} that is looked up in the cache.")

    def judged(self) -> list[tuple[str, bool, str]]:
        """Each row's name, whether its entry could be served, and what stands in its place if not."""
        settle()
        source = self._source
        agreement = self._runtime.agreements.get(source.space.database)
        with uncounted():
            self._is_agreed = agreement is None or agreement.holds()
            seen = self._runtime.store.read(source.space, [source.ident(pk) for pk in self._pks])
        each = [one for rows in seen for one in rows.each()]
        return [(f"{self._label} {pk!r}", *self._judge(pk, one)) for pk, one in zip(self._pks, each, strict=True)]

    def _judge(self, pk: Any, seen: Seen) -> tuple[bool, str]:
        match judge(seen.run, seen.epoch, seen.entry):
            case Found.HIT:
                assert seen.entry is not None
                try:
                    self._source.decode(pk, seen.entry, HEADER_SIZE)
                except UndecodableEntryError as error:
                    return False, f"its entry can't be read ({error})"
                return True, ""
            case Found.NEGATIVE_HIT:
                return False, "it is cached that there is no such row"
            case Found.BYPASS:
                return False, "a commit that writes it is open"
            case Found.MISS if seen.entry is None:
                return False, "it has no entry"
        return False, "its entry was dropped with all of the model, or by a restart of the server"

    def obstacles(self) -> Iterator[str]:
        """Why a reader would not even look."""
        if not self._runtime.settings.ENABLED:
            yield "CACHEASIDE['ENABLED'] is False: reads go to the database."
        if self._runtime.invalidator.breaker.is_open:
            yield "The cache server failed and is not used for now, as the log of django_cacheaside says."
        if not self._is_agreed:
            yield "Other processes make the keys of this database differently, as the log of django_cacheaside says."

    def hints(self) -> Iterator[str]:
        """Why it may not have been filled."""
        if is_in_test(self._connection) and state_of(self._connection).counts_as_autocommit is None:
            yield "TestCase never commits: write, read and assert within commit_work()."

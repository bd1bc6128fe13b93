"""What the scenarios are made of: rows with a version, readers and writers of them, and what the server holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings
from django.db import connections
from django.db.models import F, Model

from django_cacheaside import conf
from django_cacheaside.engine.access import Access
from django_cacheaside.engine.source import Missing
from django_cacheaside.failpoints import reach
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.envelope import Found, judge
from tests.app.models import Product
from tests.races.stage import Stage

Scenario = Callable[[Stage], None]
Mutant = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Race:
    """A scenario, and the mutants that must lose it: without their guard, its assertion fails."""

    scenario: Scenario
    mutants: tuple[Mutant, ...]
    name: str


RACES: list[Race] = []


def race(*mutants: Mutant, name: str = "") -> Callable[[Scenario], Scenario]:
    """List a scenario with its mutants for ``test_races``."""

    def add(scenario: Scenario) -> Scenario:
        RACES.append(Race(scenario, mutants, name or scenario.__name__.replace("_", "-")))
        return scenario

    return add


# --- rows ------------------------------------------------------------------------------------------------------------


def make(version: int = 0, *, model: type[Model] = Product, using: str = "default", **fields: Any) -> int:
    """A new row. Returns its primary key."""
    row = model._default_manager.using(using).create(version=version, **fields)
    return int(row.pk)


def version(pk: int, *, model: Any = Product, using: str = "default") -> int | None:
    """What a reader sees: the row's version, None if there is no row."""
    try:
        return int(model.cached.using(using).get(pk=pk).version)
    except model.DoesNotExist:
        return None


def versions(*pks: int, model: Any = Product, using: str = "default") -> list[int | None]:
    """What a reader of many sees."""
    found = model.cached.using(using).in_bulk(pks)
    return [found[pk].version if pk in found else None for pk in pks]


def bump(*pks: int, model: Any = Product, using: str = "default") -> None:
    """One UPDATE that raises the versions of rows."""
    model.objects.using(using).filter(pk__in=pks).update(version=F("version") + 1)


def bump_all(*, model: Any = Product, using: str = "default") -> None:
    """An UPDATE whose rows are not known: the whole model is invalidated."""
    model.objects.using(using).filter(version__gte=0).update(version=F("version") + 1)


def sql(statement: str, *params: object, using: str = "default") -> list[tuple[Any, ...]]:
    """Raw SQL through Django's cursor."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement, params or None)
        return cursor.fetchall() if cursor.description else []


def here(name: str) -> None:
    """A place in the play itself at which its actor may be held."""
    reach(name)


# --- what everybody sees, and what the server holds ------------------------------------------------------------------


def everybody_sees(stage: Stage, pk: int, wanted: int | None, *, model: Any = Product, using: str = "default") -> None:
    """Two fresh readers after each other: the first may fill, the second may hit what it filled."""
    seen = [stage.run(lambda: version(pk, model=model, using=using)) for _ in range(2)]
    assert seen == [wanted, wanted], f"the database holds version {wanted}, readers saw {seen}"


def warm(stage: Stage, *pks: int, model: Any = Product, using: str = "default") -> None:
    """Have the rows, or their absence, filled."""
    for pk in pks:
        stage.run(lambda pk=pk: version(pk, model=model, using=using))  # type: ignore[misc]
        assert found(pk, model=model, using=using) in (Found.HIT, Found.NEGATIVE_HIT)


def found(pk: int, *, model: Any = Product, using: str = "default") -> Found:
    """What one MGET says of a row."""
    place = runtime.current().place(registry.for_model(model), connections[using])
    seen = runtime.current().store.read_one(place.space, str(pk))
    return judge(seen.run, seen.epoch, seen.entry)


def is_leased(pk: int, *, model: Any = Product, using: str = "default") -> bool:
    """Does a reader hold the row's lease?"""
    place = runtime.current().place(registry.for_model(model), connections[using])
    return server().get(place.space.lease(str(pk))) is not None


def server() -> redis.Redis:
    """The cache's server, past the package."""
    return redis.Redis.from_url(
        settings.CACHES["default"]["LOCATION"], socket_timeout=5, single_connection_client=False
    )


class Elsewhere:
    """Another process, as far as the protocol can tell: its own connections, circuit and flights."""

    def __init__(self, using: str = "default") -> None:
        self.runtime = runtime.Runtime(conf.get_settings())
        self._using = using

    def version(self, pk: int) -> int | None:
        """What a reader there sees."""
        source = self.runtime.place(registry.for_model(Product), connections[self._using]).source
        assert source is not None
        row = self.runtime.fetcher.fetch_one(source, pk, Access.FULL)
        return None if isinstance(row, Missing) else int(row[source.attnames.index("version")])


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    """Another process; hangs up at the end."""
    other = Elsewhere()
    try:
        yield other
    finally:
        other.runtime.close()


@contextmanager
def outage() -> Iterator[None]:
    """The circuit of this process is open, and stays so."""
    breaker = runtime.current().invalidator.breaker
    breaker._retry_s = 3600.0
    breaker.open("a test says so")
    yield

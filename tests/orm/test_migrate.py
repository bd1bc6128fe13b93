"""``manage.py migrate`` while the cache is warm: what was cached is dropped, whatever the migration did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import Model

from tests.app.catalog import Draft, Item
from tests.orm.process import Process
from tests.orm.world import Served, in_database, name, served

Read = Callable[[type[Model], Any], Served]


@pytest.fixture
def migrate(db_alias: str, settings: Any) -> Iterator[Callable[[str], None]]:
    """``manage.py migrate app …``, where ``initial`` is what is there."""
    settings.MIGRATION_MODULES = {"app": "tests.orm.migrated"}

    def call(target: str, **options: Any) -> None:
        call_command("migrate", "app", target, database=db_alias, verbosity=0, **options)

    call("initial", fake=True)
    yield call
    call("zero", fake=True)


@pytest.fixture
def read(db_alias: str, second_process: Process) -> Read:
    """What the second process is served of one row."""
    return lambda model, pk: second_process(served, model._meta.label, db_alias, [pk])


def test_new_columns_and_rows_are_seen_at_once(db_alias: str, migrate: Any, read: Read) -> None:
    draft = Draft.objects.using(db_alias).create(name=name())
    missing = draft.pk + 1000
    for pk in (draft.pk, missing):
        read(Draft, pk)
        assert read(Draft, pk).statements == 0
    migrate("renewed")
    assert read(Draft, draft.pk).rows == {draft.pk: {"id": draft.pk, "name": "new", "size": 7}}
    assert read(Draft, draft.pk).statements == 0
    assert read(Draft, missing).rows == {}


def test_every_model_of_the_app_is_dropped(db_alias: str, migrate: Any, read: Read) -> None:
    """A migration may have called what nobody hears of: a function, a trigger, another program."""
    item = Item.objects.using(db_alias).create(name=name())
    migrate("renewed")
    read(Item, item.pk)
    assert read(Item, item.pk).statements == 0
    migrate("nothing")
    again = read(Item, item.pk)
    assert again.statements > 0
    assert again.rows == in_database(Item, db_alias, [item.pk])

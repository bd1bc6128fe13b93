"""The code of ``docs/keys.md`` runs, and does what is said beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_cacheaside import conf
from django_cacheaside.orm.net.wrapper import forget_plans
from django_cacheaside.orm.options import checked_options
from django_cacheaside.orm.registry import registry
from tests.app.keyed import Gadget, Section
from tests.docs.test_documents import ROOT, blocks

pytestmark = pytest.mark.usefixtures("commits")

MODEL, READS, SETTINGS, PRECISE = blocks(ROOT / "docs" / "keys.md")


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """The document's model, with a table; in the app's registry, so that its section knows its chairs."""
    names: dict[str, Any] = {"__name__": "tests.app.keys_document"}
    exec(MODEL.replace("class Meta:", 'class Meta:\n        app_label = "app"'), names)
    model = names["Chair"]
    with connection.schema_editor() as editor:
        editor.create_model(model)
    yield names
    with connection.schema_editor() as editor:
        editor.delete_model(model)
    registry.remove(model)
    from django.apps import apps

    del apps.all_models["app"]["chair"]
    apps.clear_cache()
    forget_plans()


def test_its_reads_are_served(names: dict[str, Any]) -> None:
    room = Section.objects.create()
    for rank, (slug, sku) in enumerate([("eames", "e-1"), ("windsor", "w-1")]):
        names["Chair"].objects.create(slug=slug, sku=sku, tenant=1, room=room, rank=-rank)
    lines = [line.split("  #")[0] for line in READS.splitlines()]
    for _ in range(3):
        found = [
            eval(f"list({line})" if "filter" in line or "all()" in line else line, names, {"room": room})
            for line in lines
        ]
    with CaptureQueriesContext(connection) as queries:
        again = [
            eval(f"list({line})" if "filter" in line or "all()" in line else line, names, {"room": room})
            for line in lines
        ]
    assert again == found
    assert len(queries) == 0
    assert [one.slug for one in found[3]] == ["windsor", "eames"]


def test_its_settings_and_options_are_valid() -> None:
    found: dict[str, Any] = {}
    exec(SETTINGS, found)
    assert not list(conf.settings_problems(found["CACHEASIDE"]))
    exec(PRECISE, found)
    assert checked_options(Gadget, {"precise_updates": found["CacheAside"].precise_updates}, where="").precise_updates

"""A write that drops more than it wrote is a cost: counted by its reason, and named once for each place in the code."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.db.models import F

from django_cacheaside.orm.net import dropping
from django_cacheaside.orm.net.dropping import Reason
from django_cacheaside.orm.registry import registry
from tests.app.models import Plain, Product


@pytest.fixture(autouse=True)
def no_site_is_known() -> Iterator[None]:
    dropping._sites.clear()
    yield
    dropping._sites.clear()


def drops(reason: Reason) -> int:
    return registry.for_model(Product).tally.drops.get(reason.value, 0)


def by_condition(db: str) -> None:
    Product.objects.using(db).filter(version__lt=-5).update(price=F("price") + 1)


def raw(db: str, sql: str) -> None:
    with connections[db].cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        pytest.param(by_condition, Reason.UNNAMED_ROWS, id="by-condition"),
        pytest.param(
            lambda db: Product.objects.using(db).filter(pk=-1).update(id=-2), Reason.PRIMARY_KEY, id="primary-key"
        ),
        pytest.param(
            lambda db: raw(db, "WITH w AS (SELECT 1) UPDATE app_product SET price = 1 WHERE id = -1"),
            Reason.UNREAD,
            id="with",
        ),
    ],
)
def test_is_counted_by_its_reason(write: Any, reason: Reason, db_alias: str) -> None:
    before = drops(reason)
    write(db_alias)
    assert drops(reason) == before + 1


def test_what_names_its_rows_drops_nothing(db_alias: str) -> None:
    before = dict(registry.for_model(Product).tally.drops)
    row = Product.objects.using(db_alias).create(name="a")
    Product.objects.using(db_alias).filter(pk=row.pk).update(price=1)
    Product.objects.using(db_alias).bulk_create([Product(name="b")])
    row.delete()
    Plain.objects.using(db_alias).all().delete()
    assert registry.for_model(Product).tally.drops == before


def test_each_place_in_the_code_is_named_once(db_alias: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "django_cacheaside.dropping"):
        for _ in range(3):
            by_condition(db_alias)
        Product.objects.using(db_alias).filter(version__lt=-6).update(price=1)
    said = [record.getMessage() for record in caplog.records if record.name == "django_cacheaside.dropping"]
    assert len(said) == 2
    assert all(__file__ in text and "app.Product" in text for text in said)
    assert all(Reason.UNNAMED_ROWS.value in text for text in said)


def test_nothing_is_said_above_info(db_alias: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "django_cacheaside.dropping"):
        by_condition(db_alias)
    assert [record for record in caplog.records if record.name == "django_cacheaside.dropping"] == []

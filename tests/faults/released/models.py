"""The model as the release that ``CACHEASIDE_TEST_RELEASE`` names has it.

The table has the columns of all releases, each with a default of the database, as it has while one takes over from
another. No two columns ever have one value, and none the default of its field.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from django.db import models

from django_cacheaside import Listing, Unique
from django_cacheaside.models import CacheAsideMixin

RELEASE = os.environ.get("CACHEASIDE_TEST_RELEASE", "first")

TABLE = """
    name varchar(50) NOT NULL DEFAULT 'a name',
    price integer NOT NULL DEFAULT 1,
    size varchar(20) NOT NULL DEFAULT '20x30',
    weight numeric(12, 4) NOT NULL DEFAULT 1.2345,
    colour varchar(20) NOT NULL DEFAULT 'grey',
    cost integer NOT NULL DEFAULT 2,
    by_old integer NOT NULL DEFAULT 0,
    by_new integer NOT NULL DEFAULT 0
"""


class Size(NamedTuple):
    """What a later release makes of the same text."""

    width: int
    height: int


class SizeField(models.CharField):
    """Twenty by thirty: ``20x30``."""

    def from_db_value(self, value: str, *_: object) -> Size:
        return self.to_python(value)

    def to_python(self, value: Any) -> Size:
        return value if isinstance(value, Size) else Size(*map(int, value.split("x")))

    def get_prep_value(self, value: Any) -> str:
        return f"{value[0]}x{value[1]}"

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))


def first() -> dict[str, Any]:
    return {
        "name": models.CharField(max_length=50),
        "price": models.IntegerField(default=-1),
        "size": models.CharField(max_length=20, default="guess"),
        "weight": models.DecimalField(max_digits=12, decimal_places=2),
        "by_old": models.IntegerField(default=-1),
    }


def added() -> dict[str, Any]:
    return {
        **first(),
        "colour": models.CharField(max_length=20, default="guess"),
        "by_new": models.IntegerField(default=-1),
    }


def removed() -> dict[str, Any]:
    return {name: field for name, field in first().items() if name != "price"}


def retyped() -> dict[str, Any]:
    return {**first(), "size": SizeField(max_length=20)}


def rescaled() -> dict[str, Any]:
    """SQLite rounds to two places for the first release, and to four for this one."""
    return {**first(), "weight": models.DecimalField(max_digits=12, decimal_places=4)}


def renamed() -> dict[str, Any]:
    """The column has another name."""
    return {**removed(), "cost": models.IntegerField(default=-1)}


def repointed() -> dict[str, Any]:
    """The attribute has the same name, and means another column."""
    return {**first(), "price": models.IntegerField(db_column="cost", default=-1)}


def respelt() -> dict[str, Any]:
    """The attribute has another name, and means the same column."""
    return {**removed(), "charge": models.IntegerField(db_column="price", default=-1)}


def excluding() -> dict[str, Any]:
    return first()


EXCLUDED = {"excluding": ["price"]}
KEYS = {
    "announced": [Listing("price", serve=False), Unique("name", serve=False)],
    "declared": [Listing("price"), Unique("name")],
}
FIELDS = {**globals(), "announced": first, "declared": first}


def _with_unique_name(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "name": models.CharField(max_length=50, unique=True)}


class CacheAside:
    ttl = 600
    exclude = EXCLUDED.get(RELEASE, [])
    keys = KEYS.get(RELEASE, [])


Lamp: Any = type(
    "Lamp",
    (CacheAsideMixin, models.Model),
    {
        "__module__": __name__,
        "__doc__": "What is sold.",
        "id": models.BigAutoField(primary_key=True),
        "CacheAside": CacheAside,
        "Meta": type("Meta", (), {"app_label": "released", "db_table": "released_lamp", "managed": False}),
        **(_with_unique_name(FIELDS[RELEASE]()) if RELEASE in KEYS else FIELDS[RELEASE]()),
    },
)

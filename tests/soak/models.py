"""Rows with a version, found by primary key, by a unique key that changes hands, and in a listing that they leave."""

from __future__ import annotations

from django.db import models

from django_cacheaside import Listing, Unique
from django_cacheaside.models import CacheAsideMixin


class Versioned(CacheAsideMixin, models.Model):
    """A version is drawn from one sequence by whoever holds the row: it only grows, and never comes twice."""

    version = models.IntegerField(default=0)
    slug = models.CharField(max_length=50, unique=True)
    lane = models.IntegerField()

    class CacheAside:
        keys = [Unique("slug"), Listing("lane")]

    class Meta:
        abstract = True


class Lamp(Versioned):
    """A write by a condition drops the whole model."""


class Chair(Versioned):
    """A write by a condition drops the rows that it hit."""

    class CacheAside(Versioned.CacheAside):
        precise_updates = True


MODELS: dict[str, type[Versioned]] = {"Lamp": Lamp, "Chair": Chair}
PKS = range(1, 7)
SLUGS = [f"slug-{pk}" for pk in PKS]
LANES = range(3)


def make_rows() -> None:
    """Rows of version 0: the lane of each is its primary key's remainder."""
    for model in MODELS.values():
        model._default_manager.bulk_create([model(pk=pk, slug=f"slug-{pk}", lane=pk % len(LANES)) for pk in PKS])


def by_pk(label: str, pk: int) -> str:
    """The name under which a row is recorded as found by its primary key."""
    return f"{label} {pk}"


def by_slug(label: str, slug: str) -> str:
    """As found by its unique key, whichever row it is."""
    return f"{label} {slug}"


def in_lane(label: str, lane: int, pk: int) -> str:
    """As found in a listing."""
    return f"{label} {pk} in lane {lane}"

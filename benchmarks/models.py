"""One table of twelve columns, twice: cached, and without us; and both once more, with keys beside the primary one."""

from __future__ import annotations

import uuid

from django.db import models

from django_cacheaside import Listing, Unique
from django_cacheaside.models import CacheAsideMixin


class Columns(models.Model):
    """What a row of a shop has."""

    sku = models.CharField(max_length=20)
    name = models.CharField(max_length=80)
    note = models.CharField(max_length=200, null=True)  # noqa: DJ001  a NULL shall travel
    stock = models.IntegerField(default=0)
    rank = models.IntegerField(null=True)
    is_active = models.BooleanField(default=True)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(null=True)
    released_on = models.DateField(null=True)
    code = models.UUIDField(default=uuid.uuid4)

    class Meta:
        abstract = True


class Kept(CacheAsideMixin, Columns):
    """The cached one. As long a name as the other's: their statements differ in nothing else."""


class NearKept(CacheAsideMixin, Columns):
    """The cached one, near."""

    class CacheAside:
        near = True


class Bare(Columns):
    """The one without us."""


class KeyedColumns(Columns):
    """The same columns; rows are found by two of them."""

    sku = models.CharField(max_length=20, unique=True)
    stock = models.IntegerField(default=0, db_index=True)

    class Meta:
        abstract = True


class KeyedKept(CacheAsideMixin, KeyedColumns):
    """With declared keys."""

    class CacheAside:
        keys = [Unique("sku"), Listing("stock", order_by="rank")]


class KeyedBare(KeyedColumns):
    """Without us."""

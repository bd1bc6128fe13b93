"""Models that are found by more than their primary key."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F

from django_cacheaside import Derived, Listing, Unique
from django_cacheaside.models import CacheAsideMixin, CachedManager


class Section(models.Model):
    """Plain; gadgets stand in it."""

    name = models.CharField(max_length=50, default="section")


class Gadget(CacheAsideMixin, models.Model):
    """Every kind of declared key, over columns that are written in every way."""

    tenant = models.IntegerField(default=1)
    sku = models.CharField(max_length=50)
    slug = models.CharField(max_length=200, unique=True, null=True)  # noqa: DJ001  NULLs in a unique key
    section = models.ForeignKey(Section, models.SET_NULL, null=True)
    rank = models.IntegerField(null=True)
    title = models.CharField(max_length=50, default="old")
    active = models.BooleanField(default=True)
    token = models.CharField(max_length=50, db_default="none")
    double = models.GeneratedField(
        expression=F("rank") * 2, output_field=models.IntegerField(null=True), db_persist=True
    )

    class CacheAside:
        keys = [
            Unique("slug"),
            Unique("tenant", "sku"),
            Listing("section", order_by="rank", max_rows=5),
            Listing("double"),
            Listing("token", "active"),
            Derived("dash:{section_id}"),
            Derived("all"),
        ]

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "sku"], name="one_sku_a_tenant")]


class Precise(CacheAsideMixin, models.Model):
    """A write by a condition drops the rows that it hit, no others."""

    name = models.CharField(max_length=50)
    number = models.IntegerField(default=0)

    class CacheAside:
        keys = [Listing("number")]
        precise_updates = True


class LastFirst(Precise):
    """The same rows in another order."""

    class Meta:
        proxy = True
        ordering = ["-pk"]


class Spelt(CacheAsideMixin, models.Model):
    """Keys that can be spelt in several ways."""

    amount = models.DecimalField(max_digits=9, decimal_places=2, unique=True)
    moment = models.DateTimeField(unique=True)
    day = models.DateField(unique=True)
    mark = models.UUIDField(unique=True, default=uuid.uuid4)
    text = models.CharField(max_length=200, unique=True)

    class CacheAside:
        keys = [Unique("amount"), Unique("moment"), Unique("day"), Unique("mark"), Unique("text"), Listing("text")]


class Loose(CacheAsideMixin, models.Model):
    """Its texts are compared without case where a test says so."""

    name = models.CharField(max_length=50, unique=True)
    size = models.CharField(max_length=50, default="")

    class CacheAside:
        keys = [Unique("name"), Listing("size")]


class UncasedField(models.CharField):  # type: ignore[type-arg]  # no class at run time takes any
    """Texts of which the database holds several to be equal: without their case, or their spaces at the end."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "varchar(12) COLLATE NOCASE" if connection.vendor == "sqlite" else "char(12)"


class Uncased(CacheAsideMixin, models.Model):
    """Has a column that its field has given another type."""

    code = UncasedField(max_length=12, unique=True)


class UncasedKey(CacheAsideMixin, models.Model):
    """Its primary key is one."""

    code = UncasedField(max_length=12, primary_key=True)


class Legacy(CacheAsideMixin, models.Model):
    """Its columns have other types than its fields say where a test says so."""

    code = models.CharField(max_length=12, primary_key=True)
    name = models.CharField(max_length=12, unique=True)
    size = models.CharField(max_length=12, default="")

    class CacheAside:
        keys = [Unique("name"), Listing("size")]


class Sorted(CacheAsideMixin, models.Model):
    """Sorted by whatever can be sorted; ``objects`` is served too."""

    group = models.IntegerField(default=0)
    word = models.CharField(max_length=50)
    number = models.IntegerField(null=True)
    share = models.FloatField(null=True)

    objects = CachedManager()

    class CacheAside:
        keys = [Listing("group", order_by="word", collation="C")]

    class Meta:
        base_manager_name = "objects"


class Ranked(models.Model):
    """Plain parent."""

    code = models.CharField(max_length=50, unique=True)
    level = models.IntegerField(default=0)


class Ranking(CacheAsideMixin, Ranked):
    """Keys over the parent's columns, its own, and both."""

    team = models.IntegerField(default=0)

    class CacheAside:
        keys = [Unique("code"), Listing("team"), Listing("level", "team"), Listing("level")]


class Champion(Ranking):
    """Keys over its grandparent's columns."""

    won = models.IntegerField(default=0)

    class CacheAside:
        keys = [Unique("code"), Listing("level")]


class Movable(CacheAsideMixin, Ranked):
    """Has a primary key of its own, and so may be moved to another row of its parent."""

    number = models.BigAutoField(primary_key=True)
    ranked = models.OneToOneField(Ranked, models.CASCADE, parent_link=True)
    team = models.IntegerField(default=0)

    class CacheAside:
        keys = [Unique("code"), Listing("level"), Listing("level", "team")]


class Box(Movable):
    """Its link to its parent stays; its parent's may not."""

    class CacheAside:
        keys = [Listing("level")]


class Quiet(CacheAsideMixin, models.Model):
    """A key that is written and not yet served."""

    slug = models.CharField(max_length=50, unique=True)

    class CacheAside:
        keys = [Unique("slug", serve=False)]


class Vast(CacheAsideMixin, models.Model):
    """More digits than a float has, which is what SQLite keeps."""

    amount = models.DecimalField(max_digits=22, decimal_places=2, unique=True)

    class CacheAside:
        keys = [Unique("amount")]


class EmptyAsNull(models.CharField):  # type: ignore[type-arg]  # no class at run time takes any
    """NULL in the database, empty in Python."""

    def from_db_value(self, value: str | None, *_: object) -> str:
        return value or ""

    def get_prep_value(self, value: str | None) -> str | None:
        return super().get_prep_value(value) or None


class Nulls(CacheAsideMixin, models.Model):
    """Columns whose NULL is not Python's None, or not only."""

    data = models.JSONField(null=True)
    nick = EmptyAsNull(max_length=20, null=True)
    rank = models.IntegerField(null=True)


class Dotted(CacheAsideMixin, models.Model):
    """Its table's name has a dot, and no schema."""

    name = models.CharField(max_length=50, default="old")

    class Meta:
        db_table = "app.dotted"


class Sealed(CacheAsideMixin, models.Model):
    """Sorted by a column that stays out of Redis."""

    group = models.IntegerField(default=0)
    secret = models.IntegerField()

    class CacheAside:
        keys = [Listing("group", order_by="pk")]
        exclude = ["secret"]

    class Meta:
        ordering = ["secret"]

"""Models for the net, the managers and the registry: one of each shape that Django knows."""

from __future__ import annotations

import uuid
from typing import Any

import django
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models.functions import Now

from django_cacheaside.models import CacheAsideManager, CacheAsideMixin, CachedManager, CachedQuerySet
from django_cacheaside.orm.register import register

CASCADES_IN_DATABASE = django.VERSION >= (6, 1)


class Maker(models.Model):
    """Plain; its items go with it."""

    name = models.CharField(max_length=50)


class Shelf(models.Model):
    """Plain; its items stay."""

    name = models.CharField(max_length=50, default="shelf")


class Brand(models.Model):
    """Plain; its items fall back to none."""

    name = models.CharField(max_length=50, default="brand")


class Label(models.Model):
    """Plain; many to many without a through model of ours."""

    name = models.CharField(max_length=50)


class Tag(models.Model):
    """Plain; many to many through a cached model."""

    name = models.CharField(max_length=50)


class Item(CacheAsideMixin, models.Model):
    """Cached, and related in every way."""

    name = models.CharField(max_length=50, default="old")
    slug = models.CharField(max_length=50, unique=True, default=uuid.uuid4)
    stock = models.IntegerField(default=0)
    data = models.JSONField(default=dict)
    maker = models.ForeignKey(Maker, models.CASCADE, null=True)
    shelf = models.ForeignKey(Shelf, models.SET_NULL, null=True)
    brand = models.ForeignKey(Brand, models.SET_DEFAULT, null=True, default=None)
    labels = models.ManyToManyField(Label)
    tags = models.ManyToManyField(Tag, through="ItemTag")

    objects = CacheAsideManager()
    plain = models.Manager()  # noqa: DJ012  a manager, no field


class ItemTag(CacheAsideMixin, models.Model):
    """Cached, in the middle of a many to many relation."""

    item = models.ForeignKey(Item, models.CASCADE)
    tag = models.ForeignKey(Tag, models.CASCADE)
    weight = models.IntegerField(default=1)


class Remark(models.Model):
    """Plain, below a cached model."""

    item = models.ForeignKey(Item, models.CASCADE)
    text = models.CharField(max_length=50, default="")


class ItemProxy(Item):
    """Another face of the same rows."""

    class Meta:
        proxy = True


class Detail(CacheAsideMixin, models.Model):
    """Its primary key is another row's."""

    item = models.OneToOneField(Item, models.CASCADE, primary_key=True)
    text = models.CharField(max_length=50, default="old")


class Venue(models.Model):
    """Plain parent of a cached child."""

    name = models.CharField(max_length=50, default="old")


class Cafe(CacheAsideMixin, Venue):
    """Cached child of a plain parent."""

    seats = models.IntegerField(default=0)


class Vehicle(CacheAsideMixin, models.Model):
    """Cached parent."""

    name = models.CharField(max_length=50, default="old")


class Truck(Vehicle):
    """Cached child of a cached parent."""

    load = models.IntegerField(default=0)


class Ledger(CacheAsideMixin, models.Model):
    """A table with two models."""

    name = models.CharField(max_length=50, default="old")

    class Meta:
        db_table = "app_ledger"


class LedgerTwin(CacheAsideMixin, models.Model):
    """The other one; cached too, and some of its columns."""

    name = models.CharField(max_length=50)

    class Meta:
        managed = False
        db_table = "app_ledger"


class LedgerPlainTwin(models.Model):
    """And a plain one."""

    name = models.CharField(max_length=50)

    class Meta:
        managed = False
        db_table = "app_ledger"


class Stamped(CacheAsideMixin, models.Model):
    """Abstract: options and fields for others."""

    stamp = models.CharField(max_length=50, default="old")

    class CacheAside:
        ttl = 120
        jitter = 0

    class Meta:
        abstract = True


class Article(Stamped):
    """Cached by an abstract base, all of its options inherited."""


class Memo(Stamped):
    """One option of its own, one inherited."""

    class CacheAside(Stamped.CacheAside):
        ttl = 60


class Uncounted(CacheAsideMixin, models.Model):
    """What is missing isn't kept."""

    name = models.CharField(max_length=50, default="old")

    class CacheAside:
        negative_ttl = 0


class Parcel(CacheAsideMixin, models.Model):
    """Its key is made in Python."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50, default="old")


class Country(CacheAsideMixin, models.Model):
    """Its key is a text."""

    code = models.CharField(max_length=200, primary_key=True)
    name = models.CharField(max_length=50, default="old")


class Flag(CacheAsideMixin, models.Model):
    """Its key is a text of another row."""

    country = models.OneToOneField(Country, models.CASCADE, primary_key=True)
    name = models.CharField(max_length=50, default="old")


class Serial(CacheAsideMixin, models.Model):
    """Its key is a number that is not SQLite's rowid."""

    number = models.BigIntegerField(primary_key=True)
    name = models.CharField(max_length=50, default="old")


class Seat(CacheAsideMixin, models.Model):
    """Its key has two columns: of a kind that is not cached."""

    pk = models.CompositePrimaryKey("row", "place")
    row = models.IntegerField()
    place = models.IntegerField()
    name = models.CharField(max_length=50, default="old")


class Timed(CacheAsideMixin, models.Model):
    """The database fills a column."""

    name = models.CharField(max_length=50, default="old")
    made = models.DateTimeField(db_default=Now())


class GuardedQuerySet(CachedQuerySet[Any]):
    """Has a ``get`` of its own."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.pop("password", None) != "please":
            raise PermissionError("say please")
        return super().get(*args, **kwargs)


class LivingManager(CachedManager):
    """Hides rows."""

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(is_deleted=False)


class Pet(CacheAsideMixin, models.Model):
    """Read through a manager that hides rows."""

    name = models.CharField(max_length=50, default="old")
    is_deleted = models.BooleanField(default=False)

    cached = LivingManager()
    everything = CachedManager()
    guarded = CachedManager.from_queryset(GuardedQuerySet)()  # type: ignore[django-manager-missing]


class Genre(models.Model):
    """Plain; others are read from here."""


class Book(CacheAsideMixin, models.Model):
    """``objects`` is the cached manager, and so are those of relations."""

    name = models.CharField(max_length=50, default="old")
    genre = models.ForeignKey(Genre, models.CASCADE, null=True)
    more_genres = models.ManyToManyField(Genre, related_name="more_books")

    objects = CachedManager()


class Doc(CacheAsideMixin, models.Model):
    """Built by ``from_db`` and ``__init__`` of its own."""

    name = models.CharField(max_length=50, default="old")
    file = models.FileField(upload_to="docs", default="")
    name_as_loaded: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_initialised = True

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any, **kwargs: Any) -> Doc:
        instance = super().from_db(db, field_names, values, **kwargs)
        instance.name_as_loaded = instance.name
        return instance


class Attachment(CacheAsideMixin, models.Model):
    """A file, built plainly."""

    file = models.FileField(upload_to="files", default="")


if CASCADES_IN_DATABASE:

    class Root(models.Model):
        """Plain; the database deletes what hangs on it."""

    class Branch(models.Model):
        """Plain, in between."""

        root = models.ForeignKey(Root, models.DB_CASCADE)

    class Leaf(CacheAsideMixin, models.Model):
        """Cached; goes when the root does, by two cascades."""

        branch = models.ForeignKey(Branch, models.DB_CASCADE)

    class Bird(CacheAsideMixin, models.Model):
        """Cached; stays when its root goes."""

        root = models.ForeignKey(Root, models.DB_SET_NULL, null=True)


class Category(CacheAsideMixin, models.Model):
    """Relations to it are served: its base manager is the cached one."""

    code = models.CharField(max_length=50, unique=True, default=uuid.uuid4)
    name = models.CharField(max_length=50, default="old")
    parent = models.ForeignKey("self", models.CASCADE, null=True)

    class Meta:
        base_manager_name = "cached"


class CategoryProxy(Category):
    """Another face of the same rows."""

    class Meta:
        proxy = True


class Sign(CacheAsideMixin, models.Model):
    """Its key is a text."""

    code = models.CharField(max_length=50, primary_key=True)


class Crest(CacheAsideMixin, models.Model):
    """Its key is another row's; the base manager is Django's."""

    sign = models.OneToOneField(Sign, models.CASCADE, primary_key=True)
    name = models.CharField(max_length=50, default="old")


class Token(CacheAsideMixin, models.Model):
    """Its key is a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)


class Ware(CacheAsideMixin, models.Model):
    """Relations to it are served, and it leads on."""

    name = models.CharField(max_length=50, default="old")
    category = models.ForeignKey(Category, models.CASCADE, null=True)
    second_category = models.ForeignKey(Category, models.CASCADE, null=True, related_name="second_wares")
    coded = models.ForeignKey(Category, models.CASCADE, to_field="code", null=True, related_name="coded_wares")
    genre = models.ForeignKey(Genre, models.CASCADE, null=True)
    crest = models.ForeignKey(Crest, models.CASCADE, null=True)
    similar = models.ManyToManyField("self")

    class Meta:
        base_manager_name = "cached"

    @property
    def root(self) -> Category | None:
        """Leads on, and is no relation."""
        return self.category


class Kit(Ware):
    """Cached child of a cached parent."""

    pieces = models.IntegerField(default=0)


class Manual(models.Model):
    """Plain; one to one with a cached model."""

    ware = models.OneToOneField(Ware, models.CASCADE, null=True)


class Purchase(models.Model):
    """Plain; its ware may be gone."""

    ware = models.ForeignKey(Ware, models.DO_NOTHING, db_constraint=False)


class Ghost(CacheAsideMixin, models.Model):
    """Relations to it don't find what is hidden."""

    is_deleted = models.BooleanField(default=False)

    cached = LivingManager()

    class Meta:
        base_manager_name = "cached"


class Haunt(CacheAsideMixin, models.Model):
    """Of a ghost, and of rows with each kind of key."""

    ghost = models.ForeignKey(Ghost, models.CASCADE, null=True)
    sign = models.ForeignKey(Sign, models.CASCADE, null=True)
    token = models.ForeignKey(Token, models.CASCADE, null=True)
    kit = models.ForeignKey(Kit, models.CASCADE, null=True)
    proxy = models.ForeignKey(CategoryProxy, models.CASCADE, null=True)
    crest = models.ForeignKey(Crest, models.CASCADE, null=True)


def nobody() -> int:
    """Who is host when the host has gone."""
    return 0


class Guest(CacheAsideMixin, models.Model):
    """Falls to another host when its own goes, by ``SET()``."""

    host = models.ForeignKey(Maker, models.SET(nobody), db_constraint=False)


class Bill(CacheAsideMixin, models.Model):
    """The database computes a column."""

    net = models.IntegerField(default=1)
    tax = models.IntegerField(default=1)
    gross = models.GeneratedField(
        expression=models.F("net") + models.F("tax"), output_field=models.IntegerField(), db_persist=True
    )


class Lot(CacheAsideMixin, models.Model):
    """Unique by two columns, of which a write may name one."""

    aisle = models.IntegerField(default=1)
    place = models.IntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["aisle", "place"], name="lot_of_aisle_and_place")]


class Subject(models.Model):
    """Plain; its notes go with it, by a generic relation."""

    notes = GenericRelation("Note")


class Note(CacheAsideMixin, models.Model):
    """Of anything, by a generic foreign key."""

    # no constraint: this app has no migrations, so its tables are made before those of the apps that have
    content_type = models.ForeignKey(ContentType, models.CASCADE, db_constraint=False)
    object_id = models.BigIntegerField()
    about = GenericForeignKey()
    text = models.CharField(max_length=50, default="old")


class Singer(models.Model):
    """Plain, one side of a many to many relation."""


class Song(models.Model):
    """Plain, the other side; in between are rows of a model that Django makes, and that is cached."""

    singers = models.ManyToManyField(Singer)


register(Song.singers.through)


class Draft(CacheAsideMixin, models.Model):
    """Its table is altered by migrations."""

    name = models.CharField(max_length=50, default="old", null=True)  # noqa: DJ001  until a migration fills it
    size = models.IntegerField(default=1)

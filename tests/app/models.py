"""Models that the tests write and read."""

from __future__ import annotations

from django.db import models

from django_cacheaside.models import CacheAsideMixin


class Plain(models.Model):
    """Not cached."""

    name = models.CharField(max_length=50)


class Product(CacheAsideMixin, models.Model):
    """Cached, with a primary key that the database gives."""

    name = models.CharField(max_length=50)
    price = models.IntegerField(default=0)
    version = models.IntegerField(default=0)


class Coded(CacheAsideMixin, models.Model):
    """Cached by a text of the user's; the default manager is Django's."""

    code = models.CharField(max_length=20, primary_key=True)

    plain = models.Manager()

    class Meta:
        default_manager_name = "plain"


class Priced(CacheAsideMixin, models.Model):
    """Its primary key is of a kind that is not cached."""

    price = models.DecimalField(max_digits=9, decimal_places=2, primary_key=True)


class Bay(CacheAsideMixin, models.Model):
    """Where crates stand. PostgreSQL checks a foreign key to it at COMMIT (``DEFERRABLE INITIALLY DEFERRED``)."""

    version = models.IntegerField(default=0)


class Crate(CacheAsideMixin, models.Model):
    """Cached, and its COMMIT fails if it stands in a bay that does not exist."""

    bay = models.ForeignKey(Bay, on_delete=models.CASCADE)
    version = models.IntegerField(default=0)


from tests.app import catalog, handy, keyed, letters  # noqa: E402, F401  models of modules of their own, found through this one

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

"""Models with a near cache."""

from __future__ import annotations

import uuid

from django.db import models

from django_cacheaside import Near
from django_cacheaside.models import CacheAsideMixin
from django_cacheaside.orm.index.declarations import Unique


class Handy(CacheAsideMixin, models.Model):
    """Kept near. Patient: on a busy machine, too, what is near stays so for the length of a test."""

    name = models.CharField(max_length=50, default="old")
    slug = models.CharField(max_length=50, unique=True, default=uuid.uuid4)
    version = models.IntegerField(default=0)
    data = models.JSONField(default=dict)

    class CacheAside:
        near = Near(max_bytes=200_000, max_staleness=30)
        keys = [Unique("slug")]


class HandyProxy(Handy):
    """Another class of the same rows."""

    class Meta:
        proxy = True


class Quick(CacheAsideMixin, models.Model):
    """Kept near, and not for long."""

    version = models.IntegerField(default=0)

    class CacheAside:
        near = Near(max_staleness=0.5)

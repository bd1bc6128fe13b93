"""The mixin that makes a model a cached one."""

from __future__ import annotations

from typing import Any

from django.db import models

from django_cacheaside.orm.managers import CacheAsideManager, CachedManager


class CacheAsideMixin(models.Model):
    """Mix in before ``models.Model``: ``cached`` serves rows from Redis, never older than the newest commit.

    ``objects`` stays the default manager. Options go into an inner ``class CacheAside``, as Django's into ``Meta``.
    """

    objects: models.Manager[Any] = CacheAsideManager()
    cached: CachedManager = CachedManager()

    class Meta:
        abstract = True

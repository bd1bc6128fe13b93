"""The mixin that makes a model a cached one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from django_cacheaside.later import later
from django_cacheaside.orm.managers import CacheAsideManager, CachedManager, documented_by

if TYPE_CHECKING:
    from django_cacheaside.orm import near
else:
    near = later("django_cacheaside.orm.near")


class CacheAsideMixin(models.Model):
    """Mix in before ``models.Model``: ``cached`` serves rows from Redis, never older than the newest commit.

    ``objects`` stays the default manager. Options go into an inner ``class CacheAside``, as Django's into ``Meta``.
    """

    objects: models.Manager[Any] = CacheAsideManager()
    cached: CachedManager = CachedManager()

    class Meta:
        abstract = True

    @documented_by(models.Model.refresh_from_db)
    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)
        if (args[1] if len(args) > 1 else kwargs.get("fields")) is None:
            near.forget_age(self)

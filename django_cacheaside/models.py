"""What a project's ``models.py`` imports."""

from __future__ import annotations

from django_cacheaside.orm.managers import CacheAsideManager, CacheAsideQuerySet, CachedManager, CachedQuerySet
from django_cacheaside.orm.mixin import CacheAsideMixin

__all__ = ["CacheAsideManager", "CacheAsideMixin", "CacheAsideQuerySet", "CachedManager", "CachedQuerySet"]

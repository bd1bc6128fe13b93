"""What a project's ``models.py`` imports, and the journal's table."""

from __future__ import annotations

from django_cacheaside.orm.journal.table import JournalEntry
from django_cacheaside.orm.managers import CacheAsideManager, CacheAsideQuerySet, CachedManager, CachedQuerySet
from django_cacheaside.orm.mixin import CacheAsideMixin

__all__ = [
    "CacheAsideManager",
    "CacheAsideMixin",
    "CacheAsideQuerySet",
    "CachedManager",
    "CachedQuerySet",
    "JournalEntry",
]

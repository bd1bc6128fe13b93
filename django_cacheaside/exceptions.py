"""Every exception of django_cacheaside.

    CacheAsideError
    ├── StoreUnavailableError     the server gave no usable answer: reads go to the database, invalidations are kept
    ├── UndecodableEntryError     bytes under our key that are not ours, or not of this schema: a counted miss
    ├── UncacheableRowError       a row that does not survive the way into bytes and back: served, never filled
    └── UndeclaredLookupError     ``cached`` was asked for what is no declared key, and UNDECLARED is "raise"

Mistakes in settings and declarations raise Django's own ``ImproperlyConfigured``.
"""

from __future__ import annotations


class CacheAsideError(Exception):
    """Something in django_cacheaside failed."""


class StoreUnavailableError(CacheAsideError):
    """The cache server did not answer in time, or refused: read the database and do not fill."""


class UndecodableEntryError(CacheAsideError):
    """The bytes are not an entry of this model: truncated, foreign, or of another schema. Treat them as a miss."""


class UncacheableRowError(CacheAsideError):
    """The row would not come back from the cache as it went in: serve it, but do not fill."""


class UndeclaredLookupError(CacheAsideError):
    """``cached`` was asked for what is no declared key: declare it in ``CacheAside.keys``, or ask ``objects``."""


class UndeclaredLookupWarning(UserWarning):
    """The same, where ``UNDECLARED`` is "warn"."""

"""Every exception of django_cacheaside.

    CacheAsideError
    ├── StoreUnavailableError     the server gave no usable answer: reads go to the database, invalidations are kept
    ├── TrackingRefusedError      the server does not tell which keys are modified: no near cache
    ├── UndecodableEntryError     bytes under our key that are not ours, or not of this schema: a counted miss
    │   ├── UnknownColumnsError   of a schema that its record may explain
    │   ├── FewerColumnsError     of a release that has fewer columns: a miss, filled over
    │   └── OtherColumnsError     of a release of which each has columns that the other lacks: a bypass
    ├── UncacheableRowError       a row that does not survive the way into bytes and back: served, never filled
    ├── OtherSpellingError        the row of another key than was asked for: Django must say what it means
    ├── CacheAsideOverloaded      the server is away, and FALLBACK_LIMIT reads are at the database: 503, try again later
    ├── NearInstanceError         a full ``save()`` of an instance that may be older than the row
    └── UndeclaredLookupError     ``cached`` was asked for what is no declared key, and UNDECLARED is "raise"

Mistakes in settings and declarations raise Django's own ``ImproperlyConfigured``.
"""

from __future__ import annotations


class CacheAsideError(Exception):
    """Something in django_cacheaside failed."""


class StoreUnavailableError(CacheAsideError):
    """The cache server did not answer in time, or refused: read the database and do not fill."""


class TrackingRefusedError(CacheAsideError):
    """The server has no RESP3 or refuses CLIENT TRACKING: there is no near cache, reads ask the server."""


class UndecodableEntryError(CacheAsideError):
    """The bytes are not an entry of this model: truncated, foreign, or of another schema. Treat them as a miss."""


class UnknownColumnsError(UndecodableEntryError):
    """The entry has a fingerprint that we know nothing of: its record may tell which columns it has.

    Attributes:
        fingerprint: Of its columns.
    """

    def __init__(self, fingerprint: bytes) -> None:
        super().__init__(f"an entry of unknown columns, {fingerprint.hex()}")
        self.fingerprint = fingerprint


class FewerColumnsError(UndecodableEntryError):
    """The entry lacks columns of ours and has none that we lack: load the row and fill over it."""


class OtherColumnsError(UndecodableEntryError):
    """The entry lacks columns of ours and has some that we lack: read the database and do not fill."""


class UncacheableRowError(CacheAsideError):
    """The row would not come back from the cache as it went in: serve it, but do not fill."""


class OtherSpellingError(CacheAsideError):
    """The database holds another value to be equal to the key that was asked for: let Django answer, fill nothing."""


class CacheAsideOverloaded(CacheAsideError):  # noqa: N818  a state of the server, as 503 is
    """The cache server is away and ``FALLBACK_LIMIT`` reads are at the database already: try again later."""


class NearInstanceError(CacheAsideError):
    """A full ``save()`` of an instance that was served for a model with a near cache.

    It would write all its columns, some of which another process may have changed since: save ``update_fields``, or
    read the row from the database first.
    """


class UndeclaredLookupError(CacheAsideError):
    """``cached`` was asked for what is no declared key: declare it in ``CacheAside.keys``, or ask ``objects``."""


class UndeclaredLookupWarning(UserWarning):
    """The same, where ``UNDECLARED`` is "warn"."""

"""The one boundary at which the client's exceptions become ours."""

from __future__ import annotations

from redis.exceptions import RedisClusterException, RedisError

from django_cacheaside.exceptions import StoreUnavailableError

CLIENT_ERRORS = (RedisError, RedisClusterException, OSError)
"""All that the client raises when the server is away, slow, full, read-only, forbidden or not what it claims to be."""


def unavailable(error: BaseException) -> StoreUnavailableError:
    """The same failure, as the rest of the package knows it."""
    return StoreUnavailableError(f"{type(error).__name__}: {error}")

"""How much memory keys take, estimated from a bounded sample: SCAN and MEMORY USAGE, never KEYS."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from redis.exceptions import ResponseError

from django_cacheaside.store.errors import CLIENT_ERRORS, unavailable
from django_cacheaside.store.pool import Pool

SCANS = 10
KEYS_PER_SCAN = 1000
MOST_SIZES = 2000
MOST_SIZES_EACH = 50


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one group of keys.

    Args:
        keys: How many there are.
        used_bytes: What they take; None if the server does not say.
        sampled: Keys that were measured.
        is_exact: Were all keys of the server looked at? Then ``keys`` is exact; ``used_bytes`` is an estimate still.
    """

    keys: int
    used_bytes: int | None
    sampled: int
    is_exact: bool


def sample_memory(pool: Pool, group_of: Callable[[bytes], str | None]) -> Mapping[str, Memory] | None:
    """The memory of each group that was met; None if the server does not let us look.

    Up to 12 round trips: 10,000 keys are looked at, 2,000 are measured.

    Args:
        group_of: The group of a key; None for a key that is nobody's.

    Raises:
        StoreUnavailableError: The server did not answer in time.
    """
    try:
        return _sample(pool, group_of)
    except ResponseError:  # SCAN or MEMORY USAGE are forbidden to this user, or unknown to a proxy
        return None
    except CLIENT_ERRORS as error:
        raise unavailable(error) from error


def _sample(pool: Pool, group_of: Callable[[bytes], str | None]) -> Mapping[str, Memory]:
    _, size = pool.call(("DBSIZE",))
    looked_at: set[bytes] = set()  # SCAN may give a key twice
    cursor = b"0"
    for _ in range(SCANS):
        _, (cursor, keys) = pool.call(("SCAN", cursor, "COUNT", KEYS_PER_SCAN))
        looked_at.update(keys)
        if cursor == b"0":
            break
    groups: defaultdict[str, list[bytes]] = defaultdict(list)
    for key in looked_at:
        group = group_of(key)
        if group is not None:
            groups[group].append(key)
    if not groups:
        return {}
    each = max(1, min(MOST_SIZES_EACH, MOST_SIZES // len(groups)))
    measured = {group: random.sample(keys, min(each, len(keys))) for group, keys in groups.items()}
    _, replies = pool.pipeline([("MEMORY", "USAGE", key) for keys in measured.values() for key in keys])
    sizes = iter(replies)
    is_exact = cursor == b"0"
    share = 1.0 if is_exact else max(size, len(looked_at)) / len(looked_at)
    found: dict[str, Memory] = {}
    for group, keys in measured.items():
        known = [one for one in (next(sizes) for _ in keys) if isinstance(one, int)]
        count = round(len(groups[group]) * share)
        used = round(count * sum(known) / len(known)) if known else None
        found[group] = Memory(count, used, len(known), is_exact)
    return found

"""How long things live and how long a reader waits: one frozen answer per model."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Durations of one model, in milliseconds.

    Args:
        ttl_ms: Life of a value.
        stale_ms: How long after its life a value is still served while one reader loads it again; 0 for not at all.
        jitter: Share of the life that is added at random, so that rows filled together do not expire together.
        negative_ttl_ms: Life of the knowledge that a row is missing; 0 keeps none.
        lease_ms: How long a reader may fill after it was allowed to.
        wait_ms: How long a reader waits for another one's load before it takes the lease over.
    """

    ttl_ms: int
    jitter: float
    negative_ttl_ms: int
    lease_ms: int
    wait_ms: int
    stale_ms: int = 0

    def life_ms(self, base_ms: int) -> int:
        """``base_ms`` and its share of jitter."""
        return base_ms + int(base_ms * self.jitter * random.random())  # noqa: S311  spreads load, keeps no secret

    @property
    def epoch_ms(self) -> int:
        """Life of an epoch, prolonged when half of it is over: that half is longer than an entry filled then lives."""
        return 2 * int(max(self.ttl_ms, self.negative_ttl_ms) * (1 + self.jitter) + self.stale_ms) + self.lease_ms

"""How much of a model is kept near, and how old it may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NearPolicy:
    """Of one model.

    Args:
        max_bytes: What its entries may take in one process, all databases and namespaces together.
        max_staleness_s: How long after a row was replaced it may still be served, in seconds.
    """

    max_bytes: int
    max_staleness_s: float

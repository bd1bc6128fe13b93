"""What there is to set in ``CACHEASIDE``, with the defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields
from typing import Any

NAMESPACE = re.compile(r"[\w.$-]{1,64}")
"""A namespace: as long as the name of a schema, and nothing in it that parts a key."""

NAMESPACE_RULE = "1 to 64 letters, digits, '_', '-', '$' or '.'"

IDENTITY = re.compile(r"[^\s{}]{1,64}")
"""A database's declared identity: whatever may stand in a hash tag."""

NamespaceSource = str | Callable[[], str] | None
"""No namespace, always the same one, or who knows the one in force."""

CHOICES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "UNDECLARED": (
        ("allow", "warn", "raise"),
        "It says what happens where cached is asked for what is no declared key.",
    ),
    "JOURNAL": (("on_failure", "always"), "It says when a commit is noted in the journal."),
    "ON_LOST_INVALIDATION": (("raise", "ttl"), "It says what becomes of a commit that can't even be noted."),
}
"""Settings that are one of some words, the default first, and what they are about."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``CACHEASIDE``, complete and checked. Durations in seconds."""

    CACHE: str = "default"
    TTL: float = 300.0
    JITTER: float = 0.1
    NEGATIVE_TTL: float = 10.0
    STALE: float = 0.0
    LEASE: float = 3.0
    WAIT: float = 0.25
    INTENT: float = 30.0
    CONNECT_TIMEOUT: float = 0.1
    TIMEOUT: float = 0.1
    FALLBACK_LIMIT: int | None = None
    FALLBACK_WAIT: float = 0.25
    ENABLED: bool = True
    UNDECLARED: str = "allow"
    JOURNAL: str = "on_failure"
    RELAY_INTERVAL: float | None = 1.0
    ON_LOST_INVALIDATION: str = "raise"
    NAMESPACE: NamespaceSource = None
    DATABASES: Mapping[str, str] = field(default_factory=dict)


KNOWN = tuple(one.name for one in fields(Settings))
DEFAULTS: Mapping[str, Any] = {one.name: one.default for one in fields(Settings) if one.default is not NO_DEFAULT}

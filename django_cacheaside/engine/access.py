"""What a read may do with the cache."""

from __future__ import annotations

from enum import Enum


class Access(Enum):
    """Decided when the read begins, by the state of its connection."""

    FULL = "serve hits, and fill what is missed"
    IN_TRANSACTION = "the same, in a transaction that has not written: it holds a connection, so it waits for no turn"
    LOOK = "serve hits; what is missed comes from the database and is not filled"

"""The bytes around a value: what a reader must know before it decodes the row.

An entry or epoch is told by its first two bytes; ``lua/common.lua`` draws the layouts. Anything of another shape is
nobody's entry: a miss.
"""

from __future__ import annotations

from enum import Enum

TOKEN_SIZE = 12
"""Bytes of a lease's or intent's token."""

NONCE_SIZE = 8
"""Bytes of an epoch's nonce."""

RUN_SIZE = 8
"""Bytes of the server's run id that an epoch carries."""

HEADER_SIZE = 18
"""Bytes before the body of a value: magic, kind, nonce, fresh-until."""

FRESH_UNTIL = slice(10, HEADER_SIZE)
"""Where a value says until when it is fresh: milliseconds of the server's clock, in an order that bytes compare by."""

_EPOCH, _INTENTS, _VALUE, _MISSING = b"\xcaG", b"\xcaW", b"\xcaV", b"\xcaN"
_INTENT_SIZE = TOKEN_SIZE + 8


class Found(Enum):
    """What one MGET says of a row."""

    HIT = "hit"
    NEGATIVE_HIT = "negative hit"
    MISS = "miss"
    BYPASS = "bypass"


def value_head(run: bytes, epoch: bytes | None) -> bytes | None:
    """What each valid value under this epoch begins with; None if there is no valid one. Saves ``judge`` in a batch."""
    if epoch is not None and epoch.startswith(_EPOCH) and epoch[10:] == run:
        return _VALUE + epoch[2:10]
    return None


def judge(run: bytes, epoch: bytes | None, entry: bytes | None) -> Found:
    """Decide what a reader does with what it found.

    Args:
        run: The run id of the server that answered.
        epoch: The bytes of the epoch's key, if any.
        entry: The bytes of the entry's key, if any.

    Returns:
        HIT (decode ``entry[HEADER_SIZE:]``), NEGATIVE_HIT (the row is known to be missing), MISS, or BYPASS (a commit
        is open: read the primary database, do not fill).
    """
    if epoch is not None and entry is not None and entry[2:10] == epoch[2:10] and epoch[10:] == run:
        if entry.startswith(_VALUE) and epoch.startswith(_EPOCH) and len(entry) >= HEADER_SIZE:
            return Found.HIT
        if entry.startswith(_MISSING) and epoch.startswith(_EPOCH) and len(entry) == HEADER_SIZE:
            return Found.NEGATIVE_HIT
    if is_intents(epoch) or is_intents(entry):
        return Found.BYPASS
    return Found.MISS


def fresh_until(at_ms: int) -> bytes:
    """A time of the server's clock as ``FRESH_UNTIL`` holds it."""
    return at_ms.to_bytes(8, "big")


def is_stale(value: bytes, now_ms: int) -> bool:
    """Is the time to live of a value over, though it is still there? By the server's clock."""
    return value[FRESH_UNTIL] <= fresh_until(now_ms)


def is_intents(raw: bytes | None) -> bool:
    """Are these bytes write intents? Their key expires with the last of them, so no deadline is compared here."""
    return raw is not None and raw.startswith(_INTENTS) and len(raw) > 2 and (len(raw) - 2) % _INTENT_SIZE == 0

"""The bytes under our keys in the model's terms."""

from __future__ import annotations

import struct
from typing import Any

from django_cacheaside.store.envelope import HEADER_SIZE, TOKEN_SIZE, is_intents
from tests.laws import model


def intents(raw: bytes) -> list[tuple[bytes, int]]:
    return [(raw[at : at + 12], struct.unpack_from(">Q", raw, at + 12)[0]) for at in range(2, len(raw), 20)]


def live_intents(raw: bytes, now: int) -> frozenset[str]:
    return frozenset(token.decode("latin-1") for token, deadline in intents(raw) if deadline > now)


def is_dead(raw: bytes | None, now: int) -> bool:
    return raw is not None and is_intents(raw) and not live_intents(raw, now)


def epoch_in(raw: bytes | None, now: int) -> Any:
    if raw is None:
        return None
    if is_intents(raw):
        live = live_intents(raw, now)
        return ("W", live) if live else None
    return (raw[2:10], raw[10:]) if raw[:2] == b"\xcaG" and len(raw) == 18 else None


def entry_in(raw: bytes | None, now: int) -> Any:
    if raw is None:
        return None
    if is_intents(raw):
        live = live_intents(raw, now)
        return ("W", live) if live else None
    body = body_in(raw)
    return ("V", body, raw[2:10]) if body else None


def body_in(raw: bytes) -> bytes | None:
    """As it was given to fill: the kind, then fingerprint and payload. None if the bytes are no value."""
    is_value = len(raw) >= HEADER_SIZE and (raw[:2] == b"\xcaV" or (raw[:2] == b"\xcaN" and len(raw) == HEADER_SIZE))
    return raw[1:2] + raw[HEADER_SIZE:] if is_value else None


def lease_in(raw: bytes | None) -> str | None:
    return raw.decode("latin-1") if raw is not None and len(raw) == TOKEN_SIZE else None


def without_run(entry: Any) -> Any:
    """An entry carries only the nonce of its epoch: no other epoch has it."""
    return entry if entry is None or model.is_intent(entry) else (*entry[:2], entry[2][0])

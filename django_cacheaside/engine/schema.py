"""Which columns an entry holds, where processes with other columns of one model run side by side.

An entry carries the fingerprint of its columns, not their names. Who fills says once in a record what the fingerprint
stands for, and again while it fills; who meets one that it doesn't know reads the record once. It then decodes the
entries if they have all of its own columns. If they have fewer, they are a miss and it fills over them. If each has
what the other lacks it goes past them and fills nothing, or the two would replace each other's entries for ever.

A record outlives its process's last fill by minutes. Where it is missing, nobody of that kind is at work any more, or
the bytes are no entry of ours: a miss, filled over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from typing import Final, Generic, TypeVar

from django_cacheaside.clock import Clock
from django_cacheaside.exceptions import (
    FewerColumnsError,
    OtherColumnsError,
    UndecodableEntryError,
    UnknownColumnsError,
)
from django_cacheaside.store.acts import Description

R = TypeVar("R")

RECORD_S: Final = 600.0
"""Life of a record, in seconds."""

RENEWAL_S: Final = 180.0
"""A fill says it again if it was said longer ago, in seconds."""

REPAIR_S: Final = 1.0
"""The same after entries were met that others may have filled over ours because our record was evicted."""

LOOK_AGAIN_S: Final = 5.0
"""How long a record that was missing or wrong is not looked for again, in seconds."""

GONE_S: Final = 30.0
"""After how long it is asked again whether a release with other columns is still at work, in seconds."""

MOST_KNOWN: Final = 32
"""Fingerprints that are remembered with their columns; as many again of which nothing is known."""

FOREVER: Final = float("inf")


class Fit(Enum):
    """Why entries of other columns can't be used."""

    FEWER = "they lack columns of ours, and have none that we lack"
    OTHER = "each of us has columns that the other lacks"


Decode = Callable[[bytes], R]
"""From the bytes behind the fingerprint to a row. Raises ``UndecodableEntryError``."""


class Schemas(Generic[R]):
    """What is known of the columns of one source's entries. Safe to share between threads.

    Args:
        fingerprint: Of one's own columns.
        record: What it stands for.
        compare: Tells, by fingerprint and record of others, how to decode their entries, or why not. Raises
            ``UndecodableEntryError`` for a record that is not the fingerprint's.
    """

    def __init__(
        self,
        fingerprint: bytes,
        record: bytes,
        compare: Callable[[bytes, bytes], Decode[R] | Fit],
        clock: Clock,
    ) -> None:
        self._own = Description(fingerprint, record, round(1000 * RECORD_S))
        self._compare = compare
        self._now_s = clock.monotonic_s
        self._lock = threading.Lock()
        self._decoders: dict[bytes, Decode[R]] = {}
        self._fits: dict[bytes, tuple[Fit | None, float]] = {}
        self._said_at_s = -FOREVER
        self._was_replaced = False

    def decoder(self, fingerprint: bytes) -> Decode[R]:
        """How to decode entries of others.

        Raises:
            UnknownColumnsError: Nobody has asked yet, or not lately: ``learn`` what its record says.
            FewerColumnsError, OtherColumnsError: They can't be used.
            UndecodableEntryError: Nobody says what it is.
        """
        decode = self._decoders.get(fingerprint)
        if decode is not None:
            return decode
        fit, until_s = self._fits.get(fingerprint, (None, -FOREVER))
        if self._now_s() >= until_s:
            raise UnknownColumnsError(fingerprint)
        self._was_replaced = True
        if fit is Fit.OTHER:
            raise OtherColumnsError
        if fit is Fit.FEWER:
            raise FewerColumnsError
        raise UndecodableEntryError("an entry of columns that nobody describes")

    def learn(self, fingerprint: bytes, record: bytes | None) -> None:
        """Remember what the record of a fingerprint says; None if there is none."""
        found: Decode[R] | Fit | None = None
        if record is not None:
            try:
                found = self._compare(fingerprint, record)
            except UndecodableEntryError:
                found = None
        with self._lock:
            if found is None or isinstance(found, Fit):
                lasts_s = {None: LOOK_AGAIN_S, Fit.OTHER: GONE_S, Fit.FEWER: FOREVER}[found]
                _remember(self._fits, fingerprint, (found, self._now_s() + lasts_s))
            else:
                _remember(self._decoders, fingerprint, found)

    def to_say(self) -> Description | None:
        """What a fill must say of its columns; None if that stands."""
        pause_s = REPAIR_S if self._was_replaced else RENEWAL_S
        return self._own if self._now_s() >= self._said_at_s + pause_s else None

    def said(self) -> None:
        """It was said just now."""
        self._said_at_s, self._was_replaced = self._now_s(), False


V = TypeVar("V")


def _remember(known: dict[bytes, V], fingerprint: bytes, what: V) -> None:
    known.pop(fingerprint, None)
    known[fingerprint] = what
    if len(known) > MOST_KNOWN:
        del known[next(iter(known))]

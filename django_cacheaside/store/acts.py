"""What goes into the store's acts and what comes out of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """One row as one MGET saw it: the server's run id (sealed), the epoch's bytes, the entry's bytes."""

    run: bytes
    epoch: bytes | None
    entry: bytes | None


@dataclass(frozen=True, slots=True)
class SeenRows:
    """Many rows as one MGET saw them: as ``Seen``, with the entries in the order of the rows that were asked for."""

    run: bytes
    epoch: bytes | None
    entries: Sequence[bytes | None]

    def each(self) -> Iterator[Seen]:
        """Row by row."""
        return (Seen(self.run, self.epoch, entry) for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that a reader wants to fill.

    Args:
        ident: The row.
        seen: The entry it found and can't use, or wants to refresh; an equal entry counts as absent.
        steal: The lease it has watched for longer than its patience.
    """

    ident: str
    seen: bytes | None = None
    steal: bytes | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """The lease is the reader's: load, then fill under ``nonce``."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Another reader holds ``lease``."""

    lease: bytes


@dataclass(frozen=True, slots=True)
class Value:
    """Filled meanwhile, and valid: the whole entry."""

    entry: bytes


@dataclass(frozen=True, slots=True)
class Bypass:
    """A commit is open: read the primary database, do not fill."""


Acquired = Own | Wait | Value | Bypass


@dataclass(frozen=True, slots=True)
class Filling:
    """A loaded row on its way to its entry. ``body`` is kind, fingerprint and payload; times in milliseconds."""

    ident: str
    nonce: bytes
    body: bytes
    life_ms: int
    fresh_ms: int


@dataclass(frozen=True, slots=True)
class Description:
    """What is told of the columns of entries: ``record``, under their ``fingerprint``."""

    fingerprint: bytes
    record: bytes
    life_ms: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What processes say of how they make the keys of one database.

    Args:
        age_ms: For how long somebody has been saying what we say, without a pause.
        generation: What seals the values filled by those who say so, in hexadecimal; "" while others say otherwise.
        others: What else is said, by its mark.
    """

    age_ms: int
    generation: str
    others: Mapping[str, str]

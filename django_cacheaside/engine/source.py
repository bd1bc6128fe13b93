"""What the algorithm asks of whoever knows the rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar, final

from django_cacheaside.engine.near.space import NearSpace
from django_cacheaside.engine.policy import Policy
from django_cacheaside.engine.schema import Schemas
from django_cacheaside.engine.tally import Event, Tally
from django_cacheaside.exceptions import FewerColumnsError, OtherColumnsError, UndecodableEntryError
from django_cacheaside.keys import KeySpace

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


@final
class Missing:
    """The type of ``MISSING``."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
"""The row is known not to exist."""

MISSING_BODY: Final = b"N"
_VALUE_BODY: Final = b"V"


class Source(Protocol[K, R]):
    """The rows of one model in one database. ``K``: primary key. ``R``: a row, private to who gets it."""

    space: KeySpace
    policy: Policy
    tally: Tally
    ident: Callable[[K], str]
    """The row's part of its keys."""
    schemas: Schemas[R] | None = None
    """What is told of the columns of its entries; None where entries have none."""

    near: NearSpace | None = None
    """Where its entries are kept in this process; None where the server is always asked."""

    loads_in_background: bool = False
    """Can any thread load its rows? Not if that takes the reader's own connection or tenant."""

    def load(self, pks: Sequence[K], /) -> Mapping[K, R]:
        """Read rows from the primary database, now. Missing ones are absent. One SELECT per 1,000 rows or fewer."""
        ...

    def is_shared(self, error: Exception, /, *, rows: int) -> bool:
        """Has a load of so many rows failed for everybody? Then readers who wait for one of them get the error.

        Not if the fault is the loader's own, or may be that of another row.
        """
        ...

    def encode(self, pk: K, row: R, /) -> bytes:
        """A row as bytes.

        Raises:
            UncacheableRowError: It would not come back as it is, or is not the row of ``pk``.
        """
        ...

    def decode_many(self, pks: Sequence[K], raws: Sequence[bytes], at: int, /) -> Sequence[R] | None:
        """As ``decode`` for many, in less time; None if one of them needs a look of its own."""
        ...

    def decode(self, pk: K, raw: bytes, at: int, /) -> R:
        """A row from the bytes of ``raw`` from ``at`` on, sharing nothing with other rows.

        Raises:
            UndecodableEntryError: These are not the bytes of the row ``pk``; or they are, with other columns: then of
                the subclass that says what to do.
        """
        ...


@dataclass(slots=True, eq=False)
class Sought(Generic[K]):
    """A row that one MGET did not give.

    Args:
        run: The server that was asked.
        entry: What it held and could not be used.
    """

    pk: K
    ident: str
    run: bytes
    entry: bytes | None


def event_of(error: UndecodableEntryError) -> Event:
    """What is counted of an entry that can't be used."""
    if isinstance(error, OtherColumnsError):
        return Event.OTHER_COLUMNS
    return Event.FEWER_COLUMNS if isinstance(error, FewerColumnsError) else Event.UNDECODABLE


def body_of(source: Source[K, R], pk: K, row: R | Missing) -> bytes:
    """A row, or its absence, as it is stored and shared: kind and bytes."""
    return MISSING_BODY if isinstance(row, Missing) else _VALUE_BODY + source.encode(pk, row)


def row_of(source: Source[K, R], pk: K, body: bytes) -> R | Missing:
    """The inverse of ``body_of``, for a body that was just made."""
    return MISSING if body == MISSING_BODY else source.decode(pk, body, 1)

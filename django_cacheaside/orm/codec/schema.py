"""What a fingerprint stands for, and how the entries of one set of columns are read by a process with another one.

Columns are told apart by what they are in the database, not by their attributes in Python: two releases may give one
attribute another column, or one column another attribute. Values of a column that both have travel alike if their wires
have one name, and the time zones of both connections are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from msgspec import msgpack

from django_cacheaside.exceptions import UndecodableEntryError

if TYPE_CHECKING:
    from django_cacheaside.orm.codec.fields import AnyField

FINGERPRINT_SIZE: Final = 8

LARGEST_RECORD: Final = 262_144
"""Bytes of a record above which it is nobody's: a thousand columns take 60,000."""

_Described = tuple[int, bool, str | None, list[tuple[str, str]]]
_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(_Described, strict=True).decode


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of an entry.

    Args:
        version: Of the wires.
        use_tz: ``settings.USE_TZ``.
        zone: The time zone of the connection that reads them: a view or a function of the database may depend on it.
        columns: Name in the database and name of the wire, in the order of the values.
    """

    version: int
    use_tz: bool
    zone: str | None
    columns: tuple[tuple[str, str], ...]

    @property
    def record(self) -> bytes:
        """As it is told to others."""
        return _encode((self.version, self.use_tz, self.zone, self.columns))

    @property
    def fingerprint(self) -> bytes:
        """The same in every process."""
        return _hash(self.record)

    def is_read_alike(self, other: Schema) -> bool:
        """Does a column of both, on wires of one name, have the same bytes?"""
        return (self.version, self.use_tz, self.zone) == (other.version, other.use_tz, other.zone)


def schema_of(fingerprint: bytes, record: bytes) -> Schema:
    """The schema that a record describes.

    Raises:
        UndecodableEntryError: It is not the fingerprint's.
    """
    if len(record) > LARGEST_RECORD or _hash(record) != fingerprint:
        raise UndecodableEntryError("a record of another fingerprint")
    try:
        version, use_tz, zone, columns = _decode(record)
    except Exception as error:
        raise UndecodableEntryError(f"no record: {error}") from error
    return Schema(version, use_tz, zone, tuple(columns))


def column_name(field: AnyField) -> str:
    """A field's column with its table, which is a parent's for an inherited one."""
    model = getattr(field, "model", None)
    return str(field.column) if model is None else f"{model._meta.db_table}.{field.column}"


def places(columns: Sequence[tuple[str, str]], among: Sequence[tuple[str, str]]) -> list[int] | None:
    """Where ``columns`` stand ``among`` others; None if one of them does not."""
    at = {column: place for place, column in enumerate(among)}
    found = [at.get(column, -1) for column in columns]
    return None if -1 in found else found


def _hash(record: bytes) -> bytes:
    return blake2b(record, digest_size=FINGERPRINT_SIZE).digest()

"""A write set as bytes for the journal, and back."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import DecodeError, msgpack

from django_cacheaside.keys import KeySpace
from django_cacheaside.store.writes import Writes

_Packed = dict[str, list[str] | None]
"""By label of the key space: idents; None for its epoch."""

_decode = msgpack.Decoder(_Packed).decode


class UnreadableEntryError(Exception):
    """The bytes of a journal entry are not what ``pack`` makes."""


def pack(writes: Writes) -> tuple[bytes, str]:
    """The keys, and their key spaces in plain text."""
    packed: _Packed = {space.label: idents for space, idents in writes.row_groups()}
    packed.update((space.label, None) for space in writes.models)
    return msgpack.encode(packed), "\n".join(sorted(packed))


def unpack(raw: bytes, space_of: Callable[[str], KeySpace]) -> Writes:
    """The write set.

    Raises:
        UnreadableEntryError: These bytes are none.
    """
    try:
        packed = _decode(raw)
    except (DecodeError, UnicodeDecodeError) as error:
        raise UnreadableEntryError(str(error)) from error
    writes = Writes()
    for label, idents in packed.items():
        if idents is None:
            writes.add_model(space_of(label))
        else:
            writes.add_rows(space_of(label), idents)
    return writes


def unpack_spaces(text: str, space_of: Callable[[str], KeySpace]) -> Writes:
    """The epochs of all key spaces of an entry whose keys can't be read."""
    writes = Writes()
    for label in text.split("\n"):
        writes.add_model(space_of(label))
    return writes

"""The cached columns of one model as bytes, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from msgspec import Raw, msgpack

from django_cacheaside.engine.schema import Fit
from django_cacheaside.exceptions import UncacheableRowError, UndecodableEntryError
from django_cacheaside.orm.codec.fields import Source, wire_of
from django_cacheaside.orm.codec.schema import Schema, column_name, places, schema_of
from django_cacheaside.orm.codec.wires import Wire

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_cacheaside.orm.codec.fields import AnyField

MOST_ACCEPTED = 256  # patterns of NULLs that need not be looked at column by column again
VERSION = 1  # goes up when a wire's bytes change under the same name

_encode = msgpack.Encoder(uuid_format="bytes").encode


class RowCodec:
    """Values of one model's cached columns to bytes and back. Has no state of its own: share it among threads.

    Attributes:
        attnames: The columns, in the order of the values.
        schema: The columns as other processes are told of them.
        fingerprint: 8 bytes over name and wire of each column, USE_TZ, the connection's time zone and our version.
            The same in every process. Bytes of another fingerprint may decode to nonsense: compare it first.
        head: What each payload begins with.
    """

    def __init__(self, attnames: Sequence[str], wires: Sequence[Wire], *, schema: Schema) -> None:
        self.attnames = tuple(attnames)
        self.schema = schema
        self.fingerprint = schema.fingerprint
        self.head = _array_head(len(wires))
        self._wires = tuple(wires)
        self._types = tuple(wire.exact for wire in wires)
        self._accepted = {self._types}
        self._packs = tuple((index, wire.pack) for index, wire in enumerate(wires) if wire.pack)
        self._unpacks = tuple((index, wire.unpack) for index, wire in enumerate(wires) if wire.unpack)
        columns = GenericAlias(tuple, tuple(wire.schema | None for wire in wires))
        self._decode = msgpack.Decoder(columns, strict=True).decode
        self._decode_rows = msgpack.Decoder(GenericAlias(list, (columns,)), strict=True).decode

    def encode(self, values: Sequence[object]) -> bytes:
        """One row as a MessagePack array.

        Args:
            values: What ``values_list(*attnames)`` yields for it.

        Raises:
            UncacheableRowError: A value would not come back equal and of the same type. Names the column,
                or all of them where MessagePack itself can not carry it (an integer beyond 64 bits).
        """
        row: list[Any] = list(values)
        types = tuple(map(type, row))
        if types not in self._accepted:
            self._refuse_strangers(row)
            if len(self._accepted) < MOST_ACCEPTED:
                self._accepted.add(types)
        index = 0
        try:
            for index, pack in self._packs:
                if row[index] is not None:
                    row[index] = pack(row[index])
        except Exception as error:
            raise UncacheableRowError(f"{self.attnames[index]}: {error}") from error
        try:
            return _encode(row)
        except Exception as error:  # an integer beyond 64 bits, half of a surrogate pair
            raise UncacheableRowError(f"one of {self.attnames}: {error}") from error

    def decode(self, payload: bytes) -> Sequence[Any]:
        """The values of one row, mutable ones new at each call.

        Raises:
            UndecodableEntryError: Whatever is wrong with the bytes; a custom field's ``to_python`` that raises as well.
        """
        try:
            row: tuple[Any, ...] = self._decode(payload)
            if not self._unpacks:
                return row
            return self._unpacked(list(row))
        except Exception as error:
            raise UndecodableEntryError(f"no row of {self.attnames}: {error}") from error

    def decode_many(self, payloads: Sequence[bytes]) -> list[Sequence[Any]]:
        """As ``decode`` for the payloads of many rows, as one array of rows: in two thirds of the time.

        Args:
            payloads: Each begins with ``head``: otherwise what one lacks another one could have.

        Raises:
            UndecodableEntryError: Something is wrong with one of them.
        """
        try:
            rows: list[Sequence[Any]] = self._decode_rows(_array_head(len(payloads)) + b"".join(payloads))
            return [self._unpacked(list(row)) for row in rows] if self._unpacks else rows
        except Exception as error:
            raise UndecodableEntryError(f"one is no row of {self.attnames}: {error}") from error

    def _unpacked(self, values: list[Any]) -> list[Any]:
        for index, unpack in self._unpacks:
            if (value := values[index]) is not None:
                values[index] = unpack(value)
        return values

    def decoder_for(self, fingerprint: bytes, record: bytes) -> Callable[[bytes], Sequence[Any]] | Fit:
        """How to decode the payloads of another process, or why not.

        Args:
            record: What it says of its columns.

        Raises:
            UndecodableEntryError: That is not what the fingerprint stands for.
        """
        theirs = schema_of(fingerprint, record)
        if not theirs.is_read_alike(self.schema):
            return Fit.OTHER
        at = places(self.schema.columns, theirs.columns)
        if at is None:
            return Fit.OTHER if places(theirs.columns, self.schema.columns) is None else Fit.FEWER
        kinds: list[Any] = [Raw] * len(theirs.columns)  # of columns that we don't have: not looked into
        for wire, place in zip(self._wires, at, strict=True):
            kinds[place] = wire.schema | None
        decode_theirs = msgpack.Decoder(GenericAlias(tuple, tuple(kinds)), strict=True).decode

        def decode(payload: bytes) -> Sequence[Any]:
            try:
                row: tuple[Any, ...] = decode_theirs(payload)
                return self._unpacked([row[place] for place in at])
            except Exception as error:
                raise UndecodableEntryError(f"no row of {theirs.columns}: {error}") from error

        return decode

    def _refuse_strangers(self, row: Sequence[object]) -> None:
        if len(row) != len(self.attnames):
            raise UncacheableRowError(f"{len(row)} values for {len(self.attnames)} columns")
        for attname, expected, value in zip(self.attnames, self._types, row, strict=True):
            if value is not None and type(value) is not expected and expected is not object:
                found = type(value).__name__
                raise UncacheableRowError(f"{attname}: expected {expected.__name__}, got {found}")


def _array_head(length: int) -> bytes:
    """What a MessagePack array of so many elements begins with, in as few bytes as can be, as encoders do."""
    if length < 16:
        return bytes([0x90 | length])
    return b"\xdc" + length.to_bytes(2, "big") if length < 65536 else b"\xdd" + length.to_bytes(4, "big")


def row_codec(fields: Sequence[AnyField], connection: BaseDatabaseWrapper, *, use_tz: bool) -> RowCodec:
    """The codec for ``fields`` as ``connection`` reads them.

    Args:
        fields: Concrete fields of one model, in the order of the values.
        connection: Of the database they are read from. It is not used, only asked for its driver and time zone.
        use_tz: ``settings.USE_TZ``.
    """
    source = Source.of(connection, use_tz=use_tz)
    wires = [wire_of(field, source) for field in fields]
    attnames = [field.attname for field in fields]
    columns = tuple((column_name(field), wire.name) for field, wire in zip(fields, wires, strict=True))
    return RowCodec(attnames, wires, schema=Schema(VERSION, use_tz, connection.timezone_name, columns))

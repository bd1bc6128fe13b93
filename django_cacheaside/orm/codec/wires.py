"""How each kind of value travels: what msgspec is told of it, and what happens before and after.

A value has exactly the type that its wire names, or it is refused: ``True`` in a column of integers, a ``SafeString``
in one of text would come back as something else. ``None`` travels on every wire and never reaches ``pack`` or
``unpack``.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from types import GenericAlias
from typing import Annotated, Any, Literal

from msgspec import Meta

from django_cacheaside.orm.codec.same import same

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  the wall clock's origin, in whatever zone
_MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Wire:
    """The way of one kind of value.

    Attributes:
        name: What the fingerprint says of it: another name means that the bytes can't be read.
        schema: The type by which msgspec checks and decodes what travels.
        exact: The only type of value accepted; ``object`` leaves the judgement to ``pack``.
        pack: From the value to what travels. Raises anything for a value that would not come back as it is.
        unpack: From what travelled to the value. A new object each time, if it is mutable.
    """

    name: str
    schema: Any
    exact: type
    pack: Callable[[Any], Any] | None = None
    unpack: Callable[[Any], Any] | None = None

    def accept(self, value: Any) -> Any:
        """What travels for ``value``, which may be ``None``."""
        if value is None:
            return None
        if type(value) is not self.exact and self.exact is not object:
            raise TypeError(f"expected {self.exact.__name__}, got {type(value).__name__}")
        return value if self.pack is None else self.pack(value)


def _without_zone(value: Any) -> Any:
    if value.tzinfo is not None or value.fold:
        raise ValueError("a naive date or time was expected")
    return value


def _in_utc(value: dt.datetime) -> dt.datetime:
    if value.tzinfo is not dt.timezone.utc or value.fold:
        raise ValueError(f"a date in UTC was expected, got one in {value.tzinfo}, fold {value.fold}")
    return value


def _from_view(value: memoryview[bytes]) -> bytes:
    if value.format != "c":  # psycopg 2's; another format makes a view that equals no view of the same bytes
        raise ValueError(f"a memoryview of format c was expected, got {value.format}")
    return value.tobytes()


def _as_view(travelled: bytes) -> memoryview[bytes]:
    return memoryview(travelled).cast("c")


INTEGER = Wire("integer", int, int)
BOOLEAN = Wire("boolean", bool, bool)
FLOAT = Wire("float", float, float)
TEXT = Wire("text", str, str)
UUID = Wire("uuid", uuid.UUID, uuid.UUID)
DURATION = Wire("duration", dt.timedelta, dt.timedelta)
DATE = Wire("date", dt.date, dt.date)
TIME = Wire("time", Annotated[dt.time, Meta(tz=False)], dt.time, _without_zone)
NAIVE = Wire("datetime-naive", Annotated[dt.datetime, Meta(tz=False)], dt.datetime, _without_zone)
UTC = Wire("datetime-utc", Annotated[dt.datetime, Meta(tz=True)], dt.datetime, _in_utc)
BYTES = Wire("bytes", bytes, bytes)
MEMORYVIEW = Wire("memoryview", bytes, memoryview, _from_view, _as_view)


def decimal(places: int | None) -> Wire:
    """Decimal numbers. SQLite keeps no scale: what it yields is rounded to the ``places`` of the field that reads."""
    return Wire("decimal" if places is None else f"decimal[{places}]", Decimal, Decimal)


def zoned(zone: dt.tzinfo) -> Wire:
    """Dates of a connection with a TIME_ZONE of its own: microseconds of the wall clock, doubled, plus the fold.

    Not the instant: SQLite keeps the wall clock, and one that a change to summer time skipped is no instant.
    """

    def pack(value: dt.datetime) -> int:
        if value.tzinfo is not zone:
            raise ValueError(f"a date in {zone} was expected, got one in {value.tzinfo}")
        return (value.replace(tzinfo=None, fold=0) - _EPOCH) // _MICROSECOND * 2 + value.fold

    def unpack(travelled: int) -> dt.datetime:
        return (_EPOCH + dt.timedelta(microseconds=travelled >> 1)).replace(tzinfo=zone, fold=travelled & 1)

    return Wire("datetime-zoned", int, dt.datetime, pack, unpack)


def array(element: Wire) -> Wire:
    """Lists of what ``element`` carries, ``None`` among them."""
    unpack = element.unpack

    def unpack_all(travelled: list[Any]) -> list[Any]:
        return [None if value is None else unpack(value) for value in travelled] if unpack else travelled

    def pack(values: list[Any]) -> list[Any]:
        return [*map(element.accept, values)]

    schema = GenericAlias(list, (element.schema | None,))
    return Wire(f"array[{element.name}]", schema, list, pack, unpack and unpack_all)


def span(end: Wire, range_type: Any) -> Wire:
    """The driver's range objects. An end may be ``None``, that is infinite; the bounds of an empty range are ``""``."""
    unpack_end = end.unpack or (lambda value: value)

    def pack(value: Any) -> tuple[str, Any, Any]:
        # psycopg 2 has no public name for the bounds; Django's own serializer reads this one too.
        return value._bounds or "", end.accept(value.lower), end.accept(value.upper)

    def unpack(travelled: tuple[str, Any, Any]) -> Any:
        bounds, *ends = travelled
        if not bounds:
            return range_type(empty=True)
        return range_type(*(None if value is None else unpack_end(value) for value in ends), bounds)

    schema = GenericAlias(tuple, (Literal["", "[)", "[]", "()", "(]"], end.schema | None, end.schema | None))
    return Wire(f"range[{end.name}]", schema, range_type, pack, unpack)


def _string_map(value: dict[Any, Any]) -> dict[Any, Any]:
    if not all(type(key) is str and (item is None or type(item) is str) for key, item in value.items()):
        raise TypeError("keys and values of an hstore are strings")
    return value


HSTORE = Wire("hstore", dict[str, str | None], dict, _string_map)


def as_text(name: str, write: Callable[[Any], Any], read: Callable[[str], Any], *, may_share: bool) -> Wire:
    """Values of which we only know how they are written and read: each is read back before it leaves.

    Args:
        name: Of the wire.
        write: From the value to a string.
        read: From that string to the value.
        may_share: Whether ``read`` could hand out one object twice. A mutable one (Python's sign of it: no hash) is
            refused then, as two reads of the row would share it.
    """

    def pack(value: Any) -> str:
        text = write(value)
        if type(text) is not str:
            raise TypeError(f"written as {type(text).__name__}, not as a string")
        again = read(text)
        if not same(again, value):
            raise ValueError(f"a {type(value).__name__} does not survive the way into a string and back")
        if may_share and type(again).__hash__ is None and read(text) is again:
            raise ValueError(f"one {type(value).__name__} would be shared by all readers")
        return text

    return Wire(name, str, object, pack, read)


def json_text(encoder: type[json.JSONEncoder] | None, decoder: type[json.JSONDecoder] | None) -> Wire:
    """What the database path does with JSON: text, by the field's own encoder and decoder; NaN and any integer pass."""
    own = [path_of(codec) for codec in (encoder, decoder) if codec is not None]
    read = json.loads if decoder is None else partial(json.loads, cls=decoder)
    return as_text(f"json{own}", partial(json.dumps, cls=encoder), read, may_share=False)


def path_of(of: Any) -> str:
    """The dotted path of a class, the same in every process."""
    kind = of if hasattr(of, "__qualname__") else type(of)
    return f"{kind.__module__}.{kind.__qualname__}"

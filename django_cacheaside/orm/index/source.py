"""The entries of one declared key in one database, as the engine asks for them: each holds primary keys, nothing else.

So an entry is never the last word: rows are fetched by their primary keys, and the looked-up values compared on each.
That is why only the keys of the *new* values need invalidation: a row that has left an entry is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, Q, QuerySet
from msgspec import msgpack

from django_cacheaside.engine.policy import Policy
from django_cacheaside.engine.source import Source
from django_cacheaside.engine.tally import Tally
from django_cacheaside.exceptions import UncacheableRowError, UndecodableEntryError
from django_cacheaside.keys import KeySpace
from django_cacheaside.orm.codec.fields import Source as ColumnSource
from django_cacheaside.orm.codec.fields import wire_of
from django_cacheaside.orm.codec.schema import FINGERPRINT_SIZE, column_name
from django_cacheaside.orm.columns import ColumnKey
from django_cacheaside.orm.index.declarations import Listing
from django_cacheaside.orm.index.resolve import ResolvedKey
from django_cacheaside.orm.rows import Row, RowSource

LOOKUPS_PER_SELECT: Final = 500
NO_KEY: Final = ""
_NULL: Final = "#null"
_SEPARATOR: Final = "|"

Values = tuple[Any, ...]
"""The values of a declared key's columns, in its order, as rows carry them."""


@dataclass(slots=True)
class Found:
    """What an entry says, or the database.

    Args:
        pks: Of the rows with the values; None if Django must answer: there are more than ``max_rows``, or the database
            gave rows with other values, which it holds to be equal.
        rows: Those rows, if they came with the answer. Not in their order; private to who reads.
    """

    pks: Sequence[Any] | None
    rows: list[Row] | None = None


class Naming:
    """How values become a part of keys: the parts of each column, told apart whatever they are."""

    def __init__(self, keys: Sequence[ColumnKey], *, allows_null: bool) -> None:
        self._keys = keys
        self._allows_null = allows_null
        self.ident: Callable[[Values], str] = (
            partial(_ident_of_one, keys[0].ident) if len(keys) == 1 else self._ident_of_many
        )
        """The entry's part of its key, by its values."""

    def values(self, spelt: Sequence[object]) -> Values | None:
        """The values that rows carry, for what was looked up; None if Django must say what it means."""
        values = []
        for key, one in zip(self._keys, spelt, strict=True):
            value = None if one is None else key.value(one)
            if value is None and not (one is None and self._allows_null):
                return None
            values.append(value)
        return tuple(values)

    def _ident_of_many(self, values: Values) -> str:
        return _SEPARATOR.join(
            [_NULL if value is None else _part(key.ident(value)) for key, value in zip(self._keys, values, strict=True)]
        )

    def ident_of_parameters(self, parameters: Sequence[object]) -> str | None:
        """The same for what a statement writes; ``NO_KEY`` if such a row has none, None if it can't be told."""
        parts = []
        for key, one in zip(self._keys, parameters, strict=True):
            part = None if one is None else key.ident_of_parameter(one)
            if part is None and one is not None:
                return None
            parts.append(_NULL if part is None else _part(part))
        if not self._allows_null and _NULL in parts:
            return NO_KEY
        return _SEPARATOR.join(parts)


def _ident_of_one(ident_of: Callable[[Any], str], values: Values) -> str:
    """``Naming.ident`` of one column: that of most keys, and in less than half the time."""
    value = values[0]
    return _NULL if value is None else _part(ident_of(value))


def _part(ident: str) -> str:
    """A column's ident, hashed where it could be taken for two or for none."""
    if ident and _SEPARATOR not in ident:
        return ident
    return "#" + blake2b(ident.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class IndexSource(Source[Values, Found]):
    """The entries of one ``Unique`` or ``Listing`` in one database. Holds no connection: threads share it."""

    def __init__(
        self,
        model: type[Model],
        connection: BaseDatabaseWrapper,
        *,
        key: ResolvedKey,
        naming: Naming,
        space: KeySpace,
        policy: Policy,
        rows: RowSource,
        is_exact: bool,
    ) -> None:
        self.key = key
        self.naming = naming
        self.ident: Callable[[Values], str] = naming.ident
        self.space = space
        # what is missing under one spelling may exist under another that the database holds to be equal
        self.policy = policy if is_exact else replace(policy, negative_ttl_ms=0)
        self.tally: Tally = rows.tally
        self.rows = rows
        self.loads_in_background = rows.loads_in_background
        self.is_exact = is_exact
        listing = key.declaration if isinstance(key.declaration, Listing) else None
        self.max_rows = listing.max_rows if listing else 1
        self.is_listing = listing is not None
        self._model = model
        self._pk_value = rows.key.value
        self._pk_at = rows.attnames.index(model._meta.pk.attname)
        self._values_of = _getter([rows.attnames.index(attname) for attname in key.attnames])
        source = ColumnSource.of(connection, use_tz=False)
        wire = wire_of(model._meta.pk, source)
        self._decode = msgpack.Decoder(list[wire.schema] | int, strict=True).decode  # type: ignore[name-defined]
        self._encode = msgpack.Encoder(uuid_format="bytes").encode
        # another release may give an attribute another column, or a column another type
        columns = [f"{column_name(field)} {wire_of(field, source).name}" for field in (model._meta.pk, *key.fields)]
        self._print = blake2b("\0".join([key.name, *columns]).encode(), digest_size=FINGERPRINT_SIZE)

    def has_values(self, row: Row, values: Values) -> bool:
        """Does a row carry these values?"""
        return self._values_of(row) == values

    def pk_of(self, row: Row) -> Any:
        """A row's primary key."""
        return row[self._pk_at]

    def load(self, keys: Sequence[Values], /) -> dict[Values, Found]:
        found: dict[Values, Found] = {}
        if self.is_listing:
            for values in keys:
                rows = self._select(Q(**dict(zip(self.key.attnames, values, strict=True))), self.max_rows + 1)
                if len(rows) > self.max_rows or not all(self.has_values(row, values) for row in rows):
                    found[values] = Found(None)
                elif rows:
                    found[values] = Found([*map(self.pk_of, rows)], rows)
            return found
        for start in range(0, len(keys), LOOKUPS_PER_SELECT):
            some = keys[start : start + LOOKUPS_PER_SELECT]
            rows = self._select(self._any_of(some), None)
            for row in rows:
                # under a collation that ignores case: the row of another spelling, which Django must find
                values = self._values_of(row)
                found.setdefault(values, Found([], [])).pks.append(self.pk_of(row))  # type: ignore[union-attr]
                found[values].rows.append(row)  # type: ignore[union-attr]
            if not found.keys() <= set(keys):  # no telling whose they are: of what did not come none is surely missing
                found.update((values, Found(None)) for values in some if values not in found)
        return found

    def _any_of(self, keys: Sequence[Values]) -> Q:
        if len(self.key.attnames) == 1:
            return Q(**{f"{self.key.attnames[0]}__in": [values[0] for values in keys]})
        any_of = Q()
        for values in keys:
            any_of |= Q(**dict(zip(self.key.attnames, values, strict=True)))
        return any_of

    def _select(self, condition: Q, most: int | None) -> list[Row]:
        rows: Any = QuerySet(self._model).using(self.rows.alias).order_by().filter(condition)
        return list(rows.values_list(*self.rows.attnames)[:most])

    def is_shared(self, error: Exception, /, *, rows: int) -> bool:
        return self.rows.is_shared(error, rows=rows)

    def encode(self, key: Values, found: Found, /) -> bytes:
        if not self.is_listing and (found.pks is None or len(found.pks) != 1):
            raise UncacheableRowError(f"not one row has the values {key} of {self.key.declaration}")
        return self._fingerprint(key) + self._encode(self.max_rows if found.pks is None else found.pks)

    def decode_many(self, _keys: Sequence[Values], _raws: Sequence[bytes], _at: int, /) -> None:
        return None  # each has a fingerprint of its own

    def decode(self, key: Values, raw: bytes, at: int, /) -> Found:
        if not raw.startswith(self._fingerprint(key), at):
            raise UndecodableEntryError("an entry of another key, or of another schema")
        try:
            pks = self._decode(raw[at + FINGERPRINT_SIZE :])
        except Exception as error:
            raise UndecodableEntryError(f"no primary keys: {error}") from error
        if not self.is_listing:
            if isinstance(pks, int) or len(pks) != 1 or self._pk_value(pks[0]) is None:
                raise UndecodableEntryError("not one primary key of this model")
            return Found(pks)
        if isinstance(pks, int):  # more rows than this
            if pks < self.max_rows:
                raise UndecodableEntryError("too long for a process that declares fewer rows")
            return Found(None)
        if len(pks) > self.max_rows:
            return Found(None)
        if len(set(pks)) < len(pks) or None in map(self._pk_value, pks):
            raise UndecodableEntryError("no primary keys of this model")
        return Found(pks)

    def _fingerprint(self, key: Values) -> bytes:
        """Of the declaration and of the entry: a listing under another one's key would hide rows."""
        own = self._print.copy()
        own.update(self.ident(key).encode("utf-8", "surrogatepass"))
        return own.digest()


def _getter(places: Sequence[int]) -> Callable[[Row], Values]:
    if len(places) == 1:
        at = places[0]
        return lambda row: (row[at],)
    return itemgetter(*places)

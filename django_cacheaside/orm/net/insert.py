"""Where in the parameters of an INSERT each row's values are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django_cacheaside.orm.net.tokens import IDENTIFIER, NAME, TOKEN, name_parts, tokenize

# INTO may be missing in MySQL. Each part is anchored by the one before it, so this stays linear.
HEAD: Final = re.compile(
    r"(?P<verb>INSERT|REPLACE)\s+(?:OR\s+(?P<resolution>\w+)\s+)?(?:(?:LOW_PRIORITY|HIGH_PRIORITY|DELAYED|IGNORE)\s+)*(?:INTO\s+)?"
    rf"(?P<table>{NAME})\s*(?:(?<=\s)AS\s+(?P<alias>{IDENTIFIER})\s*)?"
    rf"(?:\(\s*(?P<columns>{IDENTIFIER}(?:\s*,\s*{IDENTIFIER})*)\s*\)\s*)?(?:OVERRIDING\s+(?:SYSTEM|USER)\s+VALUE\s+)?"
    r"(?P<source>VALUES\b|SELECT\s+\*\s+FROM\s+UNNEST\s*\()?",
    re.ASCII | re.IGNORECASE,
)
_ARRAY: Final = r"\s*\(%s\)::[^()\[\]%'\",]+(?:\([^()%'\"]*\))?[^()\[\]%'\",]*\[\]\s*"
_ARRAYS: Final = re.compile(rf"({_ARRAY}(?:,{_ARRAY})*)\)")
_ANOTHER: Final = re.compile(r"\s*,\s*")


@dataclass(frozen=True, slots=True)
class InsertRows:
    """The rows of ``VALUES (…), (…)``, all alike, or of PostgreSQL's ``UNNEST``.

    ``offsets`` holds the columns whose expression is exactly one placeholder: its number among the row's ``width``.
    With ``are_arrays`` each parameter is the list of one column's values, and ``count`` is not known from the text.
    """

    offsets: Mapping[str, int]
    width: int
    count: int
    are_arrays: bool = False

    def values(self, column: str, params: object) -> Sequence[object] | None:
        """The column's value in each row, in the order of the rows; None if that can't be told."""
        offset = self.offsets.get(column)
        if offset is None or not isinstance(params, (list, tuple)) or len(params) < self.width * self.count:
            return None
        if not self.are_arrays:
            return params[offset : self.width * self.count : self.width]
        values: object = params[offset]
        return values if isinstance(values, (list, tuple)) else None


def read_rows(sql: str, head: re.Match[str]) -> tuple[InsertRows | None, int]:
    """Find the rows that follow ``head`` (a match of ``HEAD``).

    Returns:
        The rows, None if they can't be told, and where the text that is still unread begins: after the rows, or after
        the head.
    """
    unread = None, head.start("source") if head["source"] else head.end()
    if not head["columns"] or not head["source"] or "%" in head[0]:
        return unread
    columns = name_parts(head["columns"])
    if head["source"].upper() != "VALUES":
        arrays = _ARRAYS.match(sql, head.end())
        if arrays is None or arrays[1].count("%s") != len(columns):
            return unread
        offsets = {column: place for place, column in enumerate(columns)}
        return InsertRows(offsets, len(columns), 1, are_arrays=True), arrays.end()
    row = _first_row(sql, head.end())
    tokens = tokenize(row)
    if row[:1] != "(" or tokens is None or tokens.pairs() is None or not tokens.is_countable():
        return unread
    places = list(_places(tokens.words))
    start = sql.index(row, head.end())
    count, end = _repeated(sql, row, start)
    if len(places) != len(columns) or _ANOTHER.match(sql, end):
        return unread
    offsets = {column: place for column, place in zip(columns, places, strict=True) if place is not None}
    return InsertRows(offsets, row.count("%s"), count), end


def _first_row(sql: str, position: int) -> str:
    """The text of the parentheses that come next, or whatever comes instead of them."""
    depth, start = 0, None
    for match in TOKEN.finditer(sql, position):
        start = match.start() if start is None else start
        depth += (match[0] == "(") - (match[0] == ")")
        if depth <= 0:
            return sql[start : match.end()]
    return sql[position:]


def _places(words: list[str]) -> Iterator[int | None]:
    """For each expression of a row its placeholder's number, None if it is more than one placeholder alone."""
    if len(words) == 1:
        yield from range(words[0].count("%s"))
        return
    depth, before, expression = 0, 0, ""
    for word in [*words[1:-1], ","]:
        if word == "," and depth == 0:
            yield before - 1 if expression == "%s" else None
            expression = ""
            continue
        depth += (word == "(") - (word == ")")
        before += word.count("%s")
        expression = expression + word if len(expression) < 3 else expression


def _repeated(sql: str, row: str, start: int) -> tuple[int, int]:
    """How often ``row`` stands in a row from ``start`` on, and where the last one ends.

    Compares whole blocks of 2ⁿ rows, the largest first: a few comparisons by memcmp instead of tokens by the megabyte.
    """
    count, end = 1, start + len(row)
    separator = _ANOTHER.match(sql, end)
    unit = separator[0] + row if separator else row
    for power in reversed(range(((len(sql) - end) // len(unit)).bit_length() if separator else 0)):
        block = unit * (1 << power)
        if sql.startswith(block, end):
            count, end = count + (1 << power), end + len(block)
    return count, end

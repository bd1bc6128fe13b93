"""Which rows a WHERE clause certainly keeps a write within."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from django_cacheaside.orm.net.tokens import Tokens, is_name, name_parts

_BELOW_AND: Final = frozenset({"OR", "XOR", "||"})  # || is OR in MySQL
_INTEGER: Final = re.compile(r"[0-9]{1,19}")
_SUBQUERY: Final = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})


@dataclass(frozen=True, slots=True)
class Bound:
    """Each row written has in ``column`` one of these values: parameters by position, or integers of the text.

    ``count`` parameters from ``first`` on, each ``step`` further. SQL's equality is not Python's: to MySQL the text
    ``'5a'`` equals 5, a collation may ignore case. Trust values of the column's own type only.
    """

    column: str
    first: int = 0
    count: int = 0
    literals: tuple[int, ...] = ()
    step: int = 1

    def values(self, params: object) -> tuple[object, ...] | None:
        """The column's values; None if ``params`` are not a sequence that reaches so far."""
        if not self.count:
            return self.literals
        last = self.first + (self.count - 1) * self.step
        if not isinstance(params, (list, tuple)) or len(params) <= last:
            return None
        return (*params[self.first : last + 1 : self.step], *self.literals)


@dataclass(frozen=True, slots=True)
class Scope:
    """The written table, as the statement's expressions may call it."""

    token: str
    alias: str | None
    is_alone: bool  # no FROM, USING or JOIN brings in the columns of another table

    def column(self, token: str) -> str | None:
        """The column of the written table that ``token`` certainly is, else None."""
        if not is_name(token):
            return None
        *qualifier, column = name_parts(token)
        if not qualifier:
            # To MySQL a lone "id" is a string, but then "t" could not have been the table's name.
            return column if self.is_alone and (token[0] != '"' or self.token[0] == '"') else None
        known = name_parts(self.alias or self.token)
        return column if tuple(qualifier) in (known, known[-1:]) else None


def read_bounds(tokens: Tokens, pairs: dict[int, int], first: int, last: int, scope: Scope) -> tuple[Bound, ...]:
    """The bounds in the condition ``tokens[first:last]``: those conjuncts that are ``column = …`` or ``column IN (…)``.

    Args:
        tokens: The whole statement's tokens: parameters are counted from its start.
        pairs: Its parentheses, ``Tokens.pairs()``.
        first: Where the condition begins.
        last: Where it ends.
        scope: What a column of the written table looks like.
    """
    if not _BELOW_AND.isdisjoint(tokens.keys[last:]):
        return ()  # the clause that we think ends the condition could be a column of that name
    before: list[int] = []
    bounds: list[Bound] = []
    for low, high in _conjuncts(tokens.keys, pairs, first, last):
        if high - low >= 3 and (tokens.keys[low + 1] in ("=", "IN") or tokens.keys[low] == "("):
            before = before or tokens.placeholders_before()
            read = _read_row_values if tokens.keys[low] == "(" else _read_column
            bounds += read(tokens.words[low:high], before[low], scope)
    return tuple(bounds)


def _conjuncts(keys: Sequence[str], pairs: dict[int, int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Cut at each AND that every row must pass; parentheses around conjunctions are opened."""
    ranges = [(first, last)]
    while ranges:
        low, high = ranges.pop()
        if low >= high:
            continue
        if keys[low] == "(" and pairs[low] == high - 1:
            if keys[low + 1] not in _SUBQUERY:
                ranges.append((low + 1, high - 1))
            continue
        cuts, is_between, index = [low - 1], False, low
        while index < high:
            key = keys[index]
            if key in _BELOW_AND:
                break
            if key == "BETWEEN":
                is_between = True
            elif key == "AND":
                if not is_between:
                    cuts.append(index)
                is_between = False
            index = pairs.get(index, index) + 1
        else:
            if len(cuts) == 1:
                yield low, high
            else:
                ranges += [(start + 1, end) for start, end in zip(cuts, [*cuts[1:], high], strict=True)][::-1]


def _read_column(words: list[str], before: int, scope: Scope) -> Iterator[Bound]:
    """``column = …`` and ``column IN (…)``, with ``before`` placeholders before it."""
    column = scope.column(words[0])
    if column is None:
        return
    if len(words) == 3 and words[2][0] == "(":
        if words[1] != "=":
            yield Bound(column, before, words[2].count("%s"))
        return
    items = words[2:] if words[1] == "=" else _items(words[2:])
    literals = tuple(int(item) for item in items if _INTEGER.fullmatch(item))
    count = items.count("%s")
    if count + len(literals) == len(items) and (len(items) == 1 or (items and words[1] != "=")):
        yield Bound(column, before if count else 0, count, literals)


def _read_row_values(words: list[str], before: int, scope: Scope) -> Iterator[Bound]:
    """``(a, b) = (%s, %s)`` and ``(a, b) IN ((%s, %s), …)``, as Django asks for composite keys."""
    close = words.index(")")
    left, operator, right = _items(words[: close + 1]), words[close + 1 : close + 2], words[close + 2 :]
    rows = (
        right
        if operator == ["="] and len(right) == 1
        else _items(right)
        if [word.upper() for word in operator] == ["IN"]
        else []
    )
    if all(is_name(token) for token in left) and all(row[0] == "(" and row.count("%s") == len(left) for row in rows):
        for offset, token in enumerate(left if rows else ()):
            if (column := scope.column(token)) is not None:
                yield Bound(column, before + offset, len(rows), step=len(left))


def _items(words: list[str]) -> list[str]:
    """The items of ``(a, b)``; empty if it is no list of single tokens."""
    if len(words) < 3 or words[0] != "(" or words[-1] != ")" or len(words) % 2 == 0 or set(words[2:-1:2]) - {","}:
        return []
    return words[1:-1:2]

"""INSERT, UPDATE and DELETE: which table, and which of its rows and columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django_cacheaside.orm.net.facts import NULL_VALUE, WRITE, Statement, Verb
from django_cacheaside.orm.net.insert import HEAD, read_rows
from django_cacheaside.orm.net.tokens import Tokens, is_name, name_parts, tokenize
from django_cacheaside.orm.net.where import Bound, Scope, read_bounds

_CLAUSES: Final = frozenset({"SET", "FROM", "USING", "JOIN", "WHERE", "RETURNING", "ORDER", "LIMIT"})
_NO_MORE: Final = frozenset({"RETURNING", "ORDER", "LIMIT"})
_OTHER_TABLES: Final = ("FROM", "USING", "JOIN")
_HINTS: Final = frozenset({"LOW_PRIORITY", "QUICK", "IGNORE"})
_NOT_A_TABLE: Final = _CLAUSES | {"INTO", "OR", "AS", "VALUES", "SELECT", "DEFAULT", "ONLY"}
_FOLLOWS: Final = {Verb.UPDATE: {"SET"}, Verb.DELETE: {"", "WHERE", "USING", "RETURNING", "ORDER", "LIMIT"}}
_WRITING: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "INTO"})


def has_writing_word(keys: list[str]) -> bool:
    """Does a keyword write, other than as ``FOR UPDATE`` and ``KEY UPDATE`` do?"""
    return not _WRITING.isdisjoint(keys) and any(
        key in _WRITING and not (key == "UPDATE" and before in ("FOR", "KEY", "DO"))
        for before, key in zip(["", *keys], keys, strict=False)
    )


def read_update(tokens: Tokens) -> Statement:
    """``UPDATE [ONLY] table [AS alias] SET … [FROM …] [WHERE …] [RETURNING …]``; anything else is a WRITE."""
    return _read_change(tokens, Verb.UPDATE)


def read_delete(tokens: Tokens) -> Statement:
    """``DELETE FROM [ONLY] table [AS alias] [USING …] [WHERE …] [RETURNING …]``; anything else is a WRITE."""
    return _read_change(tokens, Verb.DELETE)


def read_insert(sql: str, start: int) -> Statement:
    """``INSERT [INTO] table [(columns)] …`` and ``REPLACE``, from ``start`` on; rows that are all alike are not cut."""
    head = HEAD.match(sql, start)
    if head is None or not _is_table(head["table"]):
        return WRITE
    rows, unread = read_rows(sql, head)
    tail = tokenize(sql[unread:])
    pairs = tail.pairs() if tail else None
    if tail is None or pairs is None or has_writing_word(tail.keys):
        return WRITE
    if rows and ("%" in sql[:start] or not _ends_rows(tail.keys, may_be_named=not rows.are_arrays)):
        rows = None  # drivers count the placeholders of a comment; UNION adds rows, JOIN and WHERE change them
    is_replace = "REPLACE" in (head["verb"].upper(), (head["resolution"] or "").upper())
    clauses = _clauses(tail.keys, pairs, 0)
    *_, schema, name = (None, *name_parts(head["table"]))
    return Statement(
        Verb.INSERT,
        table=name,
        schema=schema,
        columns=tuple(name_parts(head["columns"] or "")),
        rows=rows,
        overwrites=is_replace or "UPDATE" in tail.keys,
        assigned=_assigned(tail, pairs, clauses["SET"] + 1, _end(tail, clauses, "SET")) if "SET" in clauses else None,
        returning=_returning(tail, pairs, clauses, Scope(head["table"], head["alias"], is_alone=True)),
    )


def _ends_rows(keys: list[str], *, may_be_named: bool) -> bool:
    return keys[:1] in ([], ["ON"], ["RETURNING"]) or (may_be_named and keys[:1] == ["AS"] and "ON" in keys)


def _read_change(tokens: Tokens, verb: Verb) -> Statement:
    keys, words = [*tokens.keys, "", "", ""], [*tokens.words, "", "", ""]
    pairs = tokens.pairs()
    if pairs is None or has_writing_word(tokens.keys[1:]):
        return WRITE
    at = 1
    while keys[at] in _HINTS:
        at += 1
    if verb is Verb.DELETE:
        if keys[at] != "FROM":
            return WRITE
        at += 1
    at += keys[at] == "ONLY"
    table, at = words[at], at + 1
    at += keys[at] == "*"
    alias = None
    if keys[at] == "AS" or (is_name(words[at]) and keys[at] not in _CLAUSES):
        at += keys[at] == "AS"
        alias, at = words[at], at + 1
    if not _is_table(table) or not (alias is None or is_name(alias)) or keys[at] not in _FOLLOWS[verb]:
        return WRITE
    clauses = _clauses(tokens.keys, pairs, at)
    scope = Scope(table, alias, is_alone=clauses.keys().isdisjoint(_OTHER_TABLES))
    bounds: tuple[Bound, ...] = ()
    if "WHERE" in clauses and tokens.is_countable() and not _is_shadowed(tokens, scope, clauses):
        bounds = read_bounds(tokens, pairs, clauses["WHERE"] + 1, _end(tokens, clauses, "WHERE"), scope)
    *_, schema, name = (None, *name_parts(table))
    return Statement(
        verb,
        table=name,
        schema=schema,
        bounds=bounds,
        assigned=_assigned(tokens, pairs, at + 1, _end(tokens, clauses, "SET")) if verb is Verb.UPDATE else None,
        values=_values(tokens, pairs, at + 1, _end(tokens, clauses, "SET")) if verb is Verb.UPDATE else {},
        returning=_returning(tokens, pairs, clauses, scope),
        name_for_returning=(alias or table) if _NO_MORE.isdisjoint(clauses) and scope.is_alone else None,
    )


def _is_table(word: str) -> bool:
    return is_name(word) and word.upper() not in _NOT_A_TABLE


def _clauses(keys: list[str], pairs: dict[int, int], start: int) -> dict[str, int]:
    """Where each clause outside parentheses begins, at the first of its keywords."""
    clauses: dict[str, int] = {}
    index = start
    while index < len(keys):
        if keys[index] in _CLAUSES:
            clauses.setdefault(keys[index], index)
        index = pairs.get(index, index) + 1
    return clauses


def _end(tokens: Tokens, clauses: dict[str, int], clause: str) -> int:
    return min((index for index in clauses.values() if index > clauses[clause]), default=len(tokens.keys))


def _is_shadowed(tokens: Tokens, scope: Scope, clauses: dict[str, int]) -> bool:
    """Could the name by which the written table is called be another table's too?"""
    if scope.is_alone:
        return False
    *schema, name = name_parts(scope.alias or scope.token)
    others = tokens.words[min(clauses[key] for key in _OTHER_TABLES if key in clauses) : clauses["WHERE"]]
    return bool(schema) or any(name_parts(word)[-1].lower() == name.lower() for word in others if is_name(word))


def _items(tokens: Tokens, pairs: dict[int, int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Cut ``tokens[first:last]`` at the commas outside parentheses."""
    start = index = first
    while index < last:
        if tokens.keys[index] == ",":
            yield start, index
            start = index + 1
        index = pairs.get(index, index) + 1
    yield start, last


def _assigned(tokens: Tokens, pairs: dict[int, int], first: int, last: int) -> frozenset[str] | None:
    """The columns assigned; of a dotted name each part, for it may be ``table.column`` or ``column.field``."""
    columns: set[str] = set()
    for start, end in _items(tokens, pairs, first, last):
        is_group = start < end and tokens.keys[start] == "("
        stop = pairs[start] if is_group else start + 1
        if tokens.keys[stop + is_group : stop + is_group + 1] != ["="] or stop >= end:
            return None
        names = tokens.words[start + 1 : stop : 2] if is_group else [tokens.words[start]]
        if not all(is_name(name) for name in names):
            return None
        columns.update(part for name in names for part in name_parts(name))
    return frozenset(columns)


def _values(tokens: Tokens, pairs: dict[int, int], first: int, last: int) -> dict[str, int]:
    """The columns that are set to one placeholder alone, with its number, and those that are set to NULL."""
    if not tokens.is_countable():
        return {}
    before = tokens.placeholders_before()
    values: dict[str, int] = {}
    for start, end in _items(tokens, pairs, first, last):
        if end - start != 3 or tokens.keys[start + 1] != "=" or not is_name(tokens.words[start]):
            continue
        *qualifier, column = name_parts(tokens.words[start])
        if not qualifier and tokens.words[start + 2] == "%s":
            values[column] = before[start + 2]
        elif not qualifier and tokens.keys[start + 2] == "NULL":
            values[column] = NULL_VALUE
    return values


def _returning(tokens: Tokens, pairs: dict[int, int], clauses: dict[str, int], scope: Scope) -> tuple[str, ...] | None:
    if "RETURNING" not in clauses:
        return None
    first, last = clauses["RETURNING"] + 1, _end(tokens, clauses, "RETURNING")
    if "*" in tokens.words[first:last]:
        return ("*",) if last - first == 1 and scope.is_alone else None
    return tuple(
        (end - start == 1 and scope.column(tokens.words[start])) or "?"
        for start, end in _items(tokens, pairs, first, last)
    )

"""Statements about transactions, sessions and the schema: few tokens, no rows to find."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from django_cacheaside.orm.net.change import has_writing_word
from django_cacheaside.orm.net.facts import (
    COMMIT,
    COMMIT_PREPARED,
    ISOLATION,
    NEUTRAL,
    NEUTRAL_DDL,
    READ,
    ROLLBACK,
    UNKNOWN,
    UNKNOWN_DDL,
    WRITE,
    WRITE_DDL,
    Statement,
    Verb,
)
from django_cacheaside.orm.net.tokens import Tokens

_LEVEL: Final = re.compile(r"TRANSACTION|CHARACTERISTICS|(?:@@|.*\W)?(?:DEFAULT_)?(?:TRANSACTION|TX)_ISOLATION\W?")
_MODIFIERS: Final = {
    "OR",
    "REPLACE",
    "UNIQUE",
    "TEMP",
    "TEMPORARY",
    "GLOBAL",
    "LOCAL",
    "UNLOGGED",
    "FULLTEXT",
    "SPATIAL",
}
_RELATIONS: Final = frozenset({"TABLE", "VIEW", "MATERIALIZED", "FOREIGN"})
_HOLD_NO_ROWS: Final = frozenset({"INDEX", "SEQUENCE", "ROLE", "USER", "STATISTICS"})
_NEW_ONES_HOLD_NO_ROWS: Final = _HOLD_NO_ROWS | {"EXTENSION", "DATABASE", "COLLATION", "TYPE", "DOMAIN"}


def begin(tokens: Tokens) -> Statement:
    """BEGIN, START TRANSACTION, by which MySQL commits what is open; not START REPLICA."""
    if tokens.keys[0] == "START" and tokens.keys[1:2] != ["TRANSACTION"]:
        return UNKNOWN
    return Statement(Verb.BEGIN, isolation="ISOLATION" in tokens.keys, implicit_commit=True)


def commit(tokens: Tokens) -> Statement:
    """COMMIT, END, COMMIT PREPARED."""
    return COMMIT_PREPARED if tokens.keys[1:2] == ["PREPARED"] else COMMIT


def rollback(tokens: Tokens) -> Statement:
    """ROLLBACK; to a savepoint, or of another, prepared transaction, it ends nothing here."""
    return ROLLBACK if {"TO", "PREPARED"}.isdisjoint(tokens.keys) else NEUTRAL


def prepare(tokens: Tokens) -> Statement:
    """PREPARE TRANSACTION; PREPARE of a statement does nothing yet."""
    return Statement(Verb.PREPARE) if tokens.keys[1:2] == ["TRANSACTION"] else NEUTRAL


def distributed(tokens: Tokens) -> Statement:
    """MySQL's XA."""
    match tokens.keys[1:]:
        case ["START" | "BEGIN", *_]:
            return Statement(Verb.BEGIN)
        case ["PREPARE", *_]:
            return Statement(Verb.PREPARE)
        case ["COMMIT", *_]:
            return COMMIT if tokens.keys[-1] == "PHASE" else COMMIT_PREPARED
        case ["ROLLBACK", *_]:
            return ROLLBACK
        case ["END" | "RECOVER", *_]:
            return NEUTRAL
    return UNKNOWN


def set_variable(tokens: Tokens) -> Statement:
    """SET and RESET: of the isolation level, of MySQL's autocommit (which commits), or of what doesn't concern us."""
    if tokens.keys[1:2] == ["STATEMENT"]:
        return WRITE  # MariaDB's SET STATEMENT … FOR UPDATE …
    if tokens.keys == ["RESET", "ALL"] or any(_LEVEL.fullmatch(key) for key in tokens.keys):
        return ISOLATION
    return NEUTRAL_DDL if any(key.endswith("AUTOCOMMIT") for key in tokens.keys) else NEUTRAL


def pragma(tokens: Tokens) -> Statement:
    """SQLite's PRAGMA."""
    return ISOLATION if any("READ_UNCOMMITTED" in key for key in tokens.keys) else NEUTRAL


def explain(tokens: Tokens) -> Statement:
    """EXPLAIN; with ANALYZE it runs the statement."""
    if {"ANALYZE", "ANALYSE"}.isdisjoint(tokens.keys):
        return NEUTRAL
    if "EXECUTE" in tokens.keys:
        return UNKNOWN
    return WRITE if has_writing_word(tokens.keys) else NEUTRAL


def copy(tokens: Tokens) -> Statement:
    """COPY … FROM writes; COPY … TO reads, unless its query writes."""
    pairs = tokens.pairs()
    if pairs is None or has_writing_word(tokens.keys):
        return WRITE
    inside = {index for start, end in pairs.items() for index in range(start, end)}
    return WRITE if any(key == "FROM" and i not in inside for i, key in enumerate(tokens.keys)) else READ


def create(tokens: Tokens) -> Statement:
    """CREATE of what holds no rows of its own is neutral; a view may change what a model reads."""
    kind = _kind(tokens)
    if kind == "TABLE":
        is_filled = "REPLACE" in tokens.keys[:4] or not {"AS", "SELECT"}.isdisjoint(tokens.keys)
        return WRITE_DDL if is_filled else NEUTRAL_DDL
    return NEUTRAL_DDL if kind in _NEW_ONES_HOLD_NO_ROWS else WRITE_DDL


def alter(tokens: Tokens) -> Statement:
    """ALTER of a relation; of a schema it may rename every table."""
    kind = _kind(tokens)
    return WRITE_DDL if kind in _RELATIONS else NEUTRAL_DDL if kind in _HOLD_NO_ROWS else UNKNOWN_DDL


def drop(tokens: Tokens) -> Statement:
    """DROP of a relation; of a schema, a type, an owner it may take tables along."""
    return replace(alter(tokens), cascades="CASCADE" in tokens.keys)


def truncate(tokens: Tokens) -> Statement:
    """TRUNCATE [TABLE] a, b [CASCADE]."""
    return replace(WRITE_DDL, cascades="CASCADE" in tokens.keys)


def _kind(tokens: Tokens) -> str:
    return next((key for key in tokens.keys[1:] if key not in _MODIFIERS), "")

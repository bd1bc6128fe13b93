"""What one SQL statement writes, read from its text alone.

No schema, no dialect, no Django. The rule above all: a doubt is never guessed. A bound is given only if every row
written certainly satisfies it; what can't be told is ``WRITE`` (search the text for table names) or ``UNKNOWN``.

What no text tells: triggers, rules, cascades in the database, views, functions that write (``SELECT f()``),
generated columns and MySQL's ``ON UPDATE``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from django_cacheaside.orm.net import control
from django_cacheaside.orm.net.change import has_writing_word, read_delete, read_insert, read_update
from django_cacheaside.orm.net.facts import (
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
from django_cacheaside.orm.net.insert import InsertRows
from django_cacheaside.orm.net.tokens import COMMENT, TOKEN, Tokens, tokenize
from django_cacheaside.orm.net.where import Bound

__all__ = ["Bound", "InsertRows", "Statement", "Verb", "read_statement"]

_HEAD: Final = re.compile(rf"(?:[\s(]|{COMMENT})*([A-Za-z]\w*)?", re.ASCII)
_MAY_WRITE: Final = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|INTO)\b", re.ASCII | re.IGNORECASE)
_HARMFUL: Final = re.compile(
    r"\b(?:INSERT|UPDATE|DELETE|MERGE|INTO|REPLACE|TRUNCATE|CREATE|ALTER|DROP|RENAME|COPY|LOAD|REFRESH|CALL|DO|EXEC|EXECUTE"
    r"|BEGIN|START|COMMIT|END|ROLLBACK|ABORT|PREPARE|XA|SET|RESET|DISCARD|EXPLAIN|PRAGMA|LOCK|IMPORT|HANDLER)\b",
    re.ASCII | re.IGNORECASE,
)
_NEUTRAL: Final = """SAVEPOINT RELEASE SHOW LISTEN UNLISTEN NOTIFY DECLARE FETCH MOVE CLOSE DEALLOCATE COMMENT USE
    DESCRIBE DESC CHECKPOINT VACUUM ATTACH DETACH"""
_NEUTRAL_DDL: Final = "LOCK UNLOCK REINDEX CLUSTER ANALYZE ANALYSE OPTIMIZE CHECK REPAIR GRANT REVOKE FLUSH"
_FIXED: Final[dict[str, Statement]] = {
    **dict.fromkeys(_NEUTRAL.split(), NEUTRAL),
    **dict.fromkeys(_NEUTRAL_DDL.split(), NEUTRAL_DDL),
    **dict.fromkeys(("MERGE", "LOAD", "REFRESH"), WRITE),
    "RENAME": WRITE_DDL,
    "DISCARD": ISOLATION,
    "ABORT": ROLLBACK,
}
_READERS: Final[dict[str, Callable[[Tokens], Statement]]] = {
    "UPDATE": read_update,
    "DELETE": read_delete,
    "BEGIN": control.begin,
    "START": control.begin,
    "COMMIT": control.commit,
    "END": control.commit,
    "ROLLBACK": control.rollback,
    "PREPARE": control.prepare,
    "XA": control.distributed,
    "SET": control.set_variable,
    "RESET": control.set_variable,
    "PRAGMA": control.pragma,
    "EXPLAIN": control.explain,
    "COPY": control.copy,
    "CREATE": control.create,
    "ALTER": control.alter,
    "DROP": control.drop,
    "TRUNCATE": control.truncate,
}
_DOUBTFUL: Final = {
    **dict.fromkeys(("UPDATE", "DELETE", "EXPLAIN", "COPY"), WRITE),
    **dict.fromkeys(("CREATE", "ALTER", "TRUNCATE"), WRITE_DDL),
    "DROP": UNKNOWN_DDL,
}


def read_statement(sql: str) -> Statement:
    """Tell what ``sql`` does. Never raises; linear in the length of the text, and a SELECT is hardly looked at."""
    if sql.startswith("SELECT ") and ";" not in sql and "INTO" not in sql.upper():
        return READ
    text = sql.rstrip(" \t\r\n;")
    return _several(text) if ";" in text else _single(text)


def _several(text: str) -> Statement:
    """What the statements of one text do together, if the semicolons outside quotes make it more than one."""
    if tokenize(text) is None:
        may_read_only = text[:6].upper() == "SELECT" and _HARMFUL.search(text) is None
        return READ if may_read_only else UNKNOWN_DDL
    cuts = [match.start() for match in TOKEN.finditer(text) if match[0] == ";"]
    parts = [text[start:end] for start, end in zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(text)], strict=True)]
    blank = [part for part in parts if (head := _HEAD.match(part)) and head[1] is None and head.end() == len(part)]
    if len(parts) - len(blank) == 1 and "%" not in "".join(blank):
        return _single(next(part for part in parts if part not in blank))
    read = [_single(part) for part in parts]
    verbs = {statement.verb for statement in read}
    isolation = Verb.ISOLATION in verbs or any(statement.isolation for statement in read)
    if verbs <= {Verb.READ, Verb.NEUTRAL, Verb.ISOLATION}:
        return ISOLATION if isolation else READ if Verb.READ in verbs else NEUTRAL
    return Statement(
        Verb.UNKNOWN if Verb.UNKNOWN in verbs else Verb.WRITE,
        implicit_commit=not verbs.isdisjoint({Verb.COMMIT, Verb.PREPARE, Verb.COMMIT_PREPARED})
        or any(statement.implicit_commit for statement in read),
        cascades=any(statement.cascades for statement in read),
        isolation=isolation,
    )


def _single(text: str) -> Statement:
    head = _HEAD.match(text)
    if head is None or head[1] is None:
        return NEUTRAL if head and head.end() == len(text) else UNKNOWN
    word = head[1].upper()
    if word in _FIXED:
        return _FIXED[word]
    if word in ("SELECT", "VALUES", "TABLE", "WITH"):
        return _read(text)
    if word in ("INSERT", "REPLACE"):
        return read_insert(text, head.start(1))
    reader = _READERS.get(word)
    tokens = tokenize(text) if reader else None
    if reader is None or tokens is None or tokens.keys[0] != word:
        return _DOUBTFUL.get(word, UNKNOWN)
    return reader(tokens)


def _read(text: str) -> Statement:
    """SELECT and WITH: may write by a keyword outside quotes. A function that writes can't be seen."""
    if _MAY_WRITE.search(text) is None:
        return READ
    tokens = tokenize(text)
    return WRITE if tokens is None or has_writing_word(tokens.keys) else READ

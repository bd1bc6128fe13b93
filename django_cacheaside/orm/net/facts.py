"""What can be said about one SQL statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final

from django_cacheaside.orm.net.insert import InsertRows
from django_cacheaside.orm.net.where import Bound


class Verb(Enum):
    """What a statement does, as far as cached rows and transactions are concerned."""

    READ = auto()
    INSERT = auto()
    UPDATE = auto()
    DELETE = auto()
    BEGIN = auto()
    COMMIT = auto()  # AND CHAIN and XA COMMIT … ONE PHASE included
    ROLLBACK = auto()  # not TO SAVEPOINT
    PREPARE = auto()  # PREPARE TRANSACTION, XA PREPARE
    COMMIT_PREPARED = auto()
    ISOLATION = auto()  # may change the isolation level of this transaction or of later ones
    NEUTRAL = auto()  # neither reads nor writes rows
    WRITE = auto()  # writes any rows of any table whose name occurs in the text
    UNKNOWN = auto()  # may write anything


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement's effects.

    Unquoted names are in lower case, quoted ones as written. Databases that ignore the case of names exist: compare
    tables and assigned columns without case (``may_assign``), bounds exactly.
    """

    verb: Verb
    table: str | None = None  # of INSERT, UPDATE and DELETE
    schema: str | None = None
    bounds: tuple[Bound, ...] = ()  # of UPDATE and DELETE: each restricts the rows written; none: any row
    assigned: frozenset[str] | None = None  # of UPDATE and DO UPDATE: at least the columns in SET; None: any column
    values: Mapping[str, int] = field(default_factory=dict)  # of UPDATE: columns set to one parameter, or NULL_VALUE
    columns: tuple[str, ...] = ()  # of INSERT; (): can't tell
    rows: InsertRows | None = None  # of INSERT; None: can't tell
    overwrites: bool = False  # of INSERT: may update or delete rows that exist
    returning: tuple[str, ...] | None = (
        None  # columns; ("*",); "?" for an expression; None: no RETURNING, or can't tell
    )
    name_for_returning: str | None = None  # of UPDATE and DELETE that may take a RETURNING at their end: their table's
    implicit_commit: bool = (
        False  # commits the transaction where DDL does (MySQL), or has a COMMIT among its statements
    )
    cascades: bool = False  # TRUNCATE … CASCADE, DROP … CASCADE
    isolation: bool = False  # BEGIN with a level; or a text of several statements that sets one

    def may_assign(self, column: str) -> bool:
        """May the UPDATE, or the INSERT that overwrites, change ``column``?

        Case is ignored, as some databases do; SQLite's rowid is any column.
        """
        assigned = {name.lower() for name in self.assigned or ()}
        return self.assigned is None or column.lower() in assigned or not assigned.isdisjoint(_ROWID)


NULL_VALUE: Final = -1
"""In ``Statement.values``, in place of a parameter's number: the column is set to NULL."""

_ROWID: Final = frozenset({"rowid", "oid", "_rowid_"})

READ: Final = Statement(Verb.READ)
NEUTRAL: Final = Statement(Verb.NEUTRAL)
ISOLATION: Final = Statement(Verb.ISOLATION)
COMMIT: Final = Statement(Verb.COMMIT)
ROLLBACK: Final = Statement(Verb.ROLLBACK)
COMMIT_PREPARED: Final = Statement(Verb.COMMIT_PREPARED)
WRITE: Final = Statement(Verb.WRITE)
UNKNOWN: Final = Statement(Verb.UNKNOWN)
NEUTRAL_DDL: Final = replace(NEUTRAL, implicit_commit=True)
WRITE_DDL: Final = replace(WRITE, implicit_commit=True)
UNKNOWN_DDL: Final = replace(UNKNOWN, implicit_commit=True)

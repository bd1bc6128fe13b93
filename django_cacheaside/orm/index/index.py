"""One declared key of a model in one database: its key space, how values are named in it, and its entries."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_cacheaside.engine.policy import Policy
from django_cacheaside.keys import KeySpace, MakeKey
from django_cacheaside.orm.columns import column_key
from django_cacheaside.orm.index.declarations import Derived, Listing, Unique
from django_cacheaside.orm.index.resolve import ResolvedKey
from django_cacheaside.orm.index.source import IndexSource, Naming
from django_cacheaside.orm.rows import RowSource


class Index:
    """A declared key in one database.

    Attributes:
        naming: None where values of a column can't be named in this database: nothing is ever filled by them.
        source: Its entries; None where they are not served.
    """

    __slots__ = ("key", "naming", "source", "space")

    def __init__(self, key: ResolvedKey, space: KeySpace, naming: Naming | None, source: IndexSource | None) -> None:
        self.key = key
        self.space = space
        self.naming = naming
        self.source = source

    def __repr__(self) -> str:
        return f"Index({self.space})"


def make_index(
    key: ResolvedKey,
    model: type[Model],
    connection: BaseDatabaseWrapper,
    *,
    label: str,
    database: str,
    make_key: MakeKey,
    policy: Policy,
    rows: RowSource | None,
    use_tz: bool,
) -> Index:
    """The index of ``key`` where ``connection`` leads.

    Args:
        rows: The model's rows there; None if they are not served, and so neither is the index.
    """
    space = KeySpace(f"{label}.{key.name}", database, make_key)
    columns = [found for field in key.fields if (found := column_key(field, connection, use_tz=use_tz)) is not None]
    is_exact = all(column.is_exact for column in columns)
    if len(columns) < len(key.fields) or (isinstance(key.declaration, Derived) and not is_exact):
        return Index(key, space, None, None)
    naming = Naming(columns, allows_null=not isinstance(key.declaration, Unique))
    # the database would list rows of other spellings too, which no write under this one would void
    is_served = key.declaration.serve and (is_exact or not isinstance(key.declaration, Listing))
    if rows is None or not is_served or not isinstance(key.declaration, (Unique, Listing)):
        return Index(key, space, naming, None)
    source = IndexSource(
        model, connection, key=key, naming=naming, space=space, policy=policy, rows=rows, is_exact=is_exact
    )
    return Index(key, space, naming, source)

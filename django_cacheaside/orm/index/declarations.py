"""What a project writes into ``CacheAside.keys``: by what else than the primary key its rows are found.

keys = [
    Unique("slug"),
    Unique("tenant", "sku"),
    Listing("category", order_by="rank"),
    Derived("dashboard:{category_id}"),
]
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_ROWS = 1000


class KeyDeclaration:
    """One kind of key of a model. ``fields`` are names as in lookups, without spanning relations."""

    kind = ""

    def __init__(self, *fields: str, serve: bool = True) -> None:
        self.fields = fields
        self.serve = serve

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.fields))})"


class Unique(KeyDeclaration):
    """One row by the values of columns that are unique together: ``cached.get(slug="lamp")``.

    A hit is two round trips, one for the primary key and one for the row; so is ``in_bulk`` of many.

    Args:
        fields: One field with ``unique=True``, or those of a ``UniqueConstraint`` without a condition.
        serve: False to invalidate the key and not to serve it: for the release before the one that serves it, where
            old and new processes run side by side.
    """

    kind = "unique"

    def __init__(self, *fields: str, serve: bool = True) -> None:
        super().__init__(*fields, serve=serve)


class Listing(KeyDeclaration):
    """All rows with the same values in some columns: ``cached.filter(category=5)``.

    A hit is two round trips. Only primary keys are stored; rows are fetched by them, and those that no longer match are
    dropped. No snapshot across rows is promised.

    Args:
        fields: The columns.
        order_by: How the rows are sorted where the queryset does not say; ``Meta.ordering`` without it. Rows are sorted
            in Python. Text only by a stated collation.
        max_rows: A listing of more rows goes to the database, and is remembered as too long.
        collation: "C" to sort text by code points, in the database too. Not needed where the field's own
            ``db_collation`` says it.
        serve: As for ``Unique``.
    """

    kind = "listing"

    def __init__(
        self,
        *fields: str,
        order_by: str | Sequence[str] = (),
        max_rows: int = MAX_ROWS,
        collation: str | None = None,
        serve: bool = True,
    ) -> None:
        super().__init__(*fields, serve=serve)
        self.order_by: Sequence[str] = (order_by,) if isinstance(order_by, str) else order_by
        self.max_rows = max_rows
        self.collation = collation


class Derived(KeyDeclaration):
    """Whatever is computed from the rows with some values: a dashboard, a count.

    A write to a row invalidates the key of its old values and that of its new ones.

    Args:
        template: A name with fields in braces: ``"dashboard:{category_id}"``; without any, each write invalidates it.
    """

    kind = "derived"

    def __init__(self, template: str, *, serve: bool = True) -> None:
        super().__init__(serve=serve)
        self.template = template

    def __repr__(self) -> str:
        return f"Derived({self.template!r})"

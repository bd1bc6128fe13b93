"""What one transaction has written: the rows and models whose keys its commit must invalidate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django_cacheaside.keys import KeySpace

ROWS_PER_SCRIPT = 100
"""Rows of one model that travel in one script."""

ROWS_PER_MODEL = 10_000
"""Rows of one model in one transaction above which its epoch is taken: a commit must not wait for many scripts."""


class Writes:
    """Rows and whole models, only ever added to: a key too many costs a load, a key too few would be a stale row."""

    __slots__ = ("_row_keys", "models", "rows")

    def __init__(self) -> None:
        self.rows: dict[KeySpace, set[str]] = {}
        self.models: set[KeySpace] = set()
        self._row_keys: list[list[str]] | None = None

    def add_rows(self, space: KeySpace, idents: Iterable[str]) -> None:
        """Rows of a model; the whole model from ``ROWS_PER_MODEL`` on."""
        self._row_keys = None
        rows = self.rows.setdefault(space, set())
        rows.update(idents)
        if len(rows) > ROWS_PER_MODEL:
            self.add_model(space)

    def add_model(self, space: KeySpace) -> None:
        """A write whose rows are many or unknown."""
        self._row_keys = None
        self.models.add(space)
        self.rows.pop(space, None)

    def absorb(self, other: Writes) -> None:
        """All that ``other`` holds, which nobody uses after this: thousands of rows are not hashed twice."""
        self._row_keys = None
        for space, idents in other.rows.items():
            if space in self.rows:
                self.add_rows(space, idents)
            else:
                self.rows[space] = idents
        for space in other.models:
            self.add_model(space)

    def copy(self) -> Writes:
        """The same rows and models, apart from what is added later."""
        same = Writes()
        same.rows = {space: set(idents) for space, idents in self.rows.items()}
        same.models = set(self.models)
        return same

    def covers(self, space: KeySpace, ident: str) -> bool:
        """Was this row, or its whole model, written?"""
        return space in self.models or ident in self.rows.get(space, ())

    def row_groups(self) -> Iterator[tuple[KeySpace, list[str]]]:
        """The rows by model, without the models that are taken whole."""
        for space, idents in self.rows.items():
            if space not in self.models and idents:
                yield space, list(idents)

    def row_keys(self) -> list[list[str]]:
        """KEYS of each script that the rows take: their entries, then their leases. Made once, until more is added."""
        if self._row_keys is None:
            self._row_keys = [
                space.entries(chunk) + space.leases(chunk)
                for space, idents in self.row_groups()
                for at in range(0, len(idents), ROWS_PER_SCRIPT)
                for chunk in (idents[at : at + ROWS_PER_SCRIPT],)
            ]
        return self._row_keys

    def spaces(self) -> set[KeySpace]:
        """Every model touched."""
        return self.models | {space for space, idents in self.rows.items() if idents}

    def clear(self) -> None:
        """Forget everything, as a rollback does."""
        self._row_keys = None
        self.rows.clear()
        self.models.clear()

    def __bool__(self) -> bool:
        return bool(self.models) or any(self.rows.values())

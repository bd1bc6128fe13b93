"""Rows by a declared key: the entry says which primary keys, the rows say whether it is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django_cacheaside.engine.access import Access
from django_cacheaside.engine.fetch import Fetcher
from django_cacheaside.engine.source import MISSING, Missing
from django_cacheaside.engine.tally import Event
from django_cacheaside.failpoints import reach
from django_cacheaside.orm.index.source import Found, IndexSource, Values
from django_cacheaside.orm.rows import Row, RowSource


def find_rows(
    fetcher: Fetcher, index: IndexSource, rows: RowSource, keys: Sequence[Values], access: Access
) -> dict[Values, list[Row] | None]:
    """The rows that have each of ``keys``, in no order; None where Django must answer.

    Django answers for a listing of too many rows, and for a text that another spelling may equal.

    Round trips: two if entries and rows are hits, three if the entries are missed (their rows come with them), six at
    most if entries are there and wrong.
    """

    def outdated(hits: Mapping[Values, Found]) -> list[Values]:
        """Put the rows to each entry; tell which entries are wrong."""
        reach("after-index")
        pks = dict.fromkeys([pk for found in hits.values() for pk in found.pks or ()])
        fetched = fetcher.fetch(rows, list(pks), access)
        wrong = []
        for values, found in hits.items():
            if found.pks is None:
                continue
            there = (fetched[pk] for pk in found.pks)
            found.rows = [row for row in there if not isinstance(row, Missing) and index.has_values(row, values)]
            # a row that has left is dropped; but of a unique key there may be another one now, and who reads a listing
            # should not look for many that have left
            if 2 * len(found.rows) < len(found.pks):
                wrong.append(values)
        return wrong

    answers = fetcher.fetch(index, keys, access, outdated=outdated)
    # another reader of this process, or of another one, has loaded them meanwhile: their primary keys are all we have
    unread = {values: found for values, found in answers.items() if isinstance(found, Found) and found.rows is None}
    wrong = outdated(unread) if unread else []
    if wrong:
        index.tally.add(Event.DATABASE_READ, len(wrong))
        loaded = index.load(wrong)
        answers.update((values, loaded.get(values, MISSING)) for values in wrong)
    return {values: _rows(index, found) for values, found in answers.items()}


def find_row(
    fetcher: Fetcher, index: IndexSource, rows: RowSource, values: Values, access: Access
) -> Row | Missing | None:
    """``find_rows`` for one value of a ``Unique``: a hit takes a tenth less time."""

    def outdated(hits: Mapping[Values, Found]) -> Sequence[Values]:
        reach("after-index")
        found = hits[values]
        if found.pks is None:
            return ()
        (pk,) = found.pks
        row = fetcher.fetch_one(rows, pk, access)
        found.rows = [] if isinstance(row, Missing) or not index.has_values(row, values) else [row]
        return () if found.rows else (values,)

    found = fetcher.fetch(index, (values,), access, outdated=outdated)[values]
    if isinstance(found, Found) and found.rows is None and outdated({values: found}):
        index.tally.add(Event.DATABASE_READ)
        found = index.load([values]).get(values, MISSING)
    there = _rows(index, found)
    if there is None or len(there) > 1:
        return None
    return there[0] if there else MISSING


def _rows(index: IndexSource, found: Found | Missing) -> list[Row] | None:
    if isinstance(found, Missing):
        return [] if index.is_exact else None
    return None if found.pks is None else found.rows

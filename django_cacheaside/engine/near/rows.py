"""The rows of a batch that are near, decoded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from django_cacheaside.engine.near.space import NearSpace
from django_cacheaside.engine.source import MISSING, MISSING_BODY, K, Missing, R, Source
from django_cacheaside.engine.tally import Event
from django_cacheaside.exceptions import UndecodableEntryError
from django_cacheaside.store.envelope import HEADER_SIZE


def near_rows(source: Source[K, R], near: NearSpace, pks: Sequence[K]) -> dict[K, R | Missing]:
    """Those that need no round trip."""
    rows: dict[K, R | Missing] = {}
    idents = list(map(source.ident, pks))
    by_ident = near.find_many(idents)
    found = {pk: by_ident[ident] for pk, ident in zip(pks, idents, strict=True) if ident in by_ident}
    values = list(found.values())
    are_rows = all(raw[1:2] != MISSING_BODY for raw in values)
    decoded = source.decode_many(list(found), values, HEADER_SIZE) if values and are_rows else None
    if decoded is not None:
        rows.update(zip(found, decoded, strict=True))
    else:
        for pk, raw in found.items():
            with suppress(UndecodableEntryError):  # it was decoded before it came near: its columns are forgotten
                rows[pk] = MISSING if raw[1:2] == MISSING_BODY else source.decode(pk, raw, HEADER_SIZE)
    source.tally.add(Event.NEAR_HIT, len(rows))
    return rows

"""What reads bytes from Redis, given bytes of anybody's: the envelope, rows, declared keys, the journal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from django.db import connections  # noqa: E402  after setup

from django_cacheaside.engine.source import Source  # noqa: E402
from django_cacheaside.exceptions import UndecodableEntryError  # noqa: E402
from django_cacheaside.keys import KeySpace  # noqa: E402
from django_cacheaside.orm import runtime  # noqa: E402
from django_cacheaside.orm.index.source import IndexSource  # noqa: E402
from django_cacheaside.orm.journal.payload import UnreadableEntryError, unpack  # noqa: E402
from django_cacheaside.orm.registry import registry  # noqa: E402
from django_cacheaside.store.envelope import HEADER_SIZE, Found, judge, value_head  # noqa: E402

Target = Callable[[bytes], None]

RUN, EPOCH = b"R" * 8, b"\xcaG" + b"n" * 8 + b"R" * 8
HEAD = b"\xcaV" + b"n" * 8 + bytes(8)


def envelope(data: bytes) -> None:
    """Whatever stands under epoch and entry is told apart."""
    half = len(data) // 2
    assert isinstance(judge(RUN, data[:half], data[half:]), Found)
    found = judge(RUN, EPOCH, data)
    assert (found is Found.HIT) <= data.startswith(value_head(RUN, EPOCH) or b"")
    assert value_head(RUN, data) in (None, b"\xcaV" + data[2:10])


def of_rows(label: str) -> Target:
    """A row of a model: ours or nobody's, and of the primary key that was asked for."""
    registration = registry.by_label(label)[0]
    source = runtime.current().place(registration, connections["default"]).source
    assert source is not None
    pk_at = source.attnames.index(registration.model._meta.pk.attname)
    known = source._codec.fingerprint

    def decode(data: bytes) -> None:
        for raw in (HEAD + data, HEAD + known + data):
            row = _decoded(source, 5, raw)
            assert row is None or (len(row) == len(source.attnames) and row[pk_at] == 5)

    return decode


def of_indexes(label: str) -> Iterator[Target]:
    """The entries of a model's declared keys: primary keys of its type, no more than a listing may have."""
    registration = registry.by_label(label)[0]
    for index in runtime.current().place(registration, connections["default"]).indexes:
        if index.source is not None:
            yield _of_index(index.source)


def _of_index(source: IndexSource) -> Target:
    values = tuple(1 for _ in source.key.fields)
    known = source._fingerprint(values) if _can_name(source, values) else None

    def decode(data: bytes) -> None:
        for raw in (HEAD + data, HEAD + (known or b"") + data):
            found = _decoded(source, values, raw) if known else None
            if found is not None and found.pks is not None:
                assert len(found.pks) <= source.max_rows
                assert all(source.rows.key.value(pk) == pk for pk in found.pks)

    return decode


def _can_name(source: IndexSource, values: tuple[object, ...]) -> bool:
    try:
        source.ident(values)
    except (AttributeError, TypeError):
        return False
    return True


def _decoded(source: Source, key: object, raw: bytes) -> object:
    try:
        return source.decode(key, raw, HEADER_SIZE)
    except UndecodableEntryError:
        return None


def journal(data: bytes) -> None:
    """Keys of an entry, or an entry that is set aside."""
    with suppress(UnreadableEntryError):
        unpack(data, lambda label: KeySpace(label, "fuzz", str))


TARGETS: list[Target] = [
    envelope,
    of_rows("app.Item"),
    of_rows("app.Gadget"),
    of_rows("app.Product"),
    *of_indexes("app.Gadget"),
    journal,
]

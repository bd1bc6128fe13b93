"""Bytes under a declared key that are not ours, or another entry's: a miss, replaced; never a wrong answer."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from django.db import connection
from msgspec import msgpack

from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from tests.app.keyed import Gadget, Section
from tests.faults.test_hostile_bytes import SPOILS, Spoil, client, list_instead  # noqa: F401  a fixture

pytestmark = pytest.mark.usefixtures("commits")

HEAD = 26
"""Bytes before an index entry's primary keys: header and fingerprint."""


def key_of(name: str, ident: object) -> str:
    place = runtime.current().place(registry.for_model(Gadget), connection)
    (index,) = (one for one in place.indexes if one.key.name == name)
    return index.space.entry(str(ident))


def packed(pks: Any) -> bytes:
    return msgpack.encode(pks)


FOREIGN: list[Any] = [
    *SPOILS,
    *(
        pytest.param(
            lambda server, key, entry, pks=pks: server.set(key, entry[:HEAD] + packed(pks), px=60_000),
            id=f"pks={pks!r:.30}",
        )
        for pks in (
            2**64 - 1,
            -1,
            0,
            True,
            None,
            "x",
            [2**63],
            [-(2**63)],
            ["1"],
            [None],
            [[1]],
            {"a": 1},
            [1.5],
            [9, 9],
        )
    ),
]


@pytest.fixture
def gadget() -> Gadget:
    section = Section.objects.create()
    made = Gadget.objects.create(sku="a", slug="lamp", section=section, rank=1)
    return Gadget.objects.get(pk=made.pk)


@pytest.mark.parametrize("spoil", FOREIGN)
def test_of_a_unique_key_are_replaced(client: redis.Redis, spoil: Spoil, gadget: Gadget) -> None:  # noqa: F811
    Gadget.cached.get(slug="lamp")
    key = key_of("unique:slug", "lamp")
    entry = client.get(key)
    assert isinstance(entry, bytes)
    spoil(client, key, entry)
    for _ in range(3):
        assert Gadget.cached.get(slug="lamp") == gadget
    assert client.get(key)[HEAD:] == packed([gadget.pk])


@pytest.mark.parametrize("spoil", FOREIGN)
def test_of_a_listing_are_replaced(client: redis.Redis, spoil: Spoil, gadget: Gadget) -> None:  # noqa: F811
    rows = Gadget.cached.filter(section=gadget.section_id)
    assert list(rows.all()) == [gadget]
    key = key_of("listing:section_id", gadget.section_id)
    entry = client.get(key)
    assert isinstance(entry, bytes)
    spoil(client, key, entry)
    for _ in range(3):
        assert list(rows.all()) == [gadget]


def test_a_listing_under_another_one_s_key_hides_no_row(client: redis.Redis, gadget: Gadget) -> None:  # noqa: F811
    """Its rows would be dropped, for they don't match: an empty answer, and a wrong one."""
    other = Gadget.objects.create(sku="b", slug="desk", section=Section.objects.create(), rank=2)
    for section in (gadget.section_id, other.section_id):
        list(Gadget.cached.filter(section=section))
    theirs = client.get(key_of("listing:section_id", other.section_id))
    assert isinstance(theirs, bytes)
    client.set(key_of("listing:section_id", gadget.section_id), theirs, px=60_000)
    tally = registry.for_model(Gadget).tally
    before = tally.counts[Event.UNDECODABLE]
    assert list(Gadget.cached.filter(section=gadget.section_id)) == [gadget]
    assert tally.counts[Event.UNDECODABLE] == before + 1


def test_a_unique_entry_under_another_one_s_key_is_refused(client: redis.Redis, gadget: Gadget) -> None:  # noqa: F811
    other = Gadget.objects.create(sku="b", slug="desk")
    for slug in ("lamp", "desk"):
        Gadget.cached.get(slug=slug)
    theirs = client.get(key_of("unique:slug", "desk"))
    assert isinstance(theirs, bytes)
    client.set(key_of("unique:slug", "lamp"), theirs, px=60_000)
    for _ in range(2):
        assert Gadget.cached.get(slug="lamp") == gadget
        assert Gadget.cached.get(slug="desk").pk == other.pk


def test_the_row_s_own_entry_may_be_lost_at_any_time(client: redis.Redis, gadget: Gadget) -> None:  # noqa: F811
    for _ in range(2):
        Gadget.cached.get(slug="lamp")
    place = runtime.current().place(registry.for_model(Gadget), connection)
    client.delete(place.space.entry(str(gadget.pk)))
    assert Gadget.cached.get(slug="lamp") == gadget
    list_instead(client, place.space.entry(str(gadget.pk)), b"x")
    assert Gadget.cached.get(slug="lamp") == gadget

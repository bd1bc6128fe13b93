"""Entries of other columns: which are read, what of them, and that a record of a schema is not believed blindly."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.contrib.postgres import fields as pg
from django.db import connection, models
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from django_cacheaside.engine.look import MOST_ASKED
from django_cacheaside.engine.schema import Fit, Schemas
from django_cacheaside.engine.tally import Event
from django_cacheaside.exceptions import UndecodableEntryError
from django_cacheaside.orm import runtime
from django_cacheaside.orm.codec import RowCodec, row_codec
from django_cacheaside.orm.codec.same import same
from django_cacheaside.orm.codec.schema import LARGEST_RECORD
from django_cacheaside.orm.index.index import Index
from django_cacheaside.orm.index.resolve import ResolvedKey
from django_cacheaside.orm.index.source import IndexSource
from django_cacheaside.orm.places import Place
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.envelope import HEADER_SIZE
from tests.app.keyed import Gadget
from tests.app.models import Product
from tests.orm.test_codec import COLUMNS, PARIS, ROWS, codec_for
from tests.servers import VALKEY_URL


def named(name: str, field: models.Field, column: str | None = None) -> models.Field:
    field.db_column = column
    field.set_attributes_from_name(name)
    return field


def in_table(table: str, field: models.Field) -> models.Field:
    field.model = SimpleNamespace(_meta=SimpleNamespace(db_table=table))
    return field


def a() -> models.Field:
    return named("a", models.IntegerField())


def b(field: models.Field | None = None, column: str | None = None) -> models.Field:
    return named("b", field or models.IntegerField(), column)


def fit(mine: RowCodec, theirs: RowCodec) -> Any:
    return mine.decoder_for(theirs.fingerprint, theirs.schema.record)


class TestColumns:
    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [
            pytest.param(lambda: codec_for(a()), lambda: codec_for(b(), a()), id="more"),
            pytest.param(lambda: codec_for(a(), b()), lambda: codec_for(b(), a()), id="another order"),
            pytest.param(
                lambda: codec_for(a()), lambda: codec_for(named("z", models.IntegerField(), "a")), id="respelt"
            ),
            pytest.param(
                lambda: codec_for(b(models.CharField())), lambda: codec_for(b(models.TextField())), id="alike"
            ),
            pytest.param(
                lambda: codec_for(b()), lambda: codec_for(b(models.BigIntegerField()), a()), id="a larger integer"
            ),
        ],
    )
    def test_that_the_entry_has_are_read(self, mine: Callable[[], RowCodec], theirs: Callable[[], RowCodec]) -> None:
        assert callable(fit(mine(), theirs()))

    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [
            pytest.param(lambda: codec_for(a(), b()), lambda: codec_for(a()), id="one"),
            pytest.param(lambda: codec_for(a()), lambda: codec_for(), id="all"),
        ],
    )
    def test_that_the_entry_lacks_are_not_guessed(
        self, mine: Callable[[], RowCodec], theirs: Callable[[], RowCodec]
    ) -> None:
        assert fit(mine(), theirs()) is Fit.FEWER

    @pytest.mark.parametrize(
        "theirs",
        [
            pytest.param(lambda: codec_for(a(), b(models.TextField())), id="another type"),
            pytest.param(lambda: codec_for(a(), b(models.JSONField())), id="JSON"),
            pytest.param(lambda: codec_for(a(), b(pg.ArrayField(models.IntegerField()))), id="an array"),
            pytest.param(lambda: codec_for(a(), b(column="c")), id="another column under one attribute"),
            pytest.param(lambda: codec_for(a(), in_table("other", b())), id="another table's"),
            pytest.param(lambda: codec_for(a(), b(), zone=None), id="no time zones"),
            pytest.param(lambda: codec_for(a(), b(), zone=PARIS), id="another time zone"),
            pytest.param(lambda: codec_for(b(models.TextField()), named("c", models.TextField())), id="nothing alike"),
        ],
    )
    def test_at_odds_are_told_from_fewer(self, theirs: Callable[[], RowCodec]) -> None:
        assert fit(codec_for(a(), b()), theirs()) is Fit.OTHER
        assert fit(theirs(), codec_for(a(), b())) is Fit.OTHER

    def test_of_another_scale_are_others(self) -> None:
        """SQLite's rows are rounded to the field's own."""
        coarse, fine = (codec_for(b(models.DecimalField(max_digits=9, decimal_places=places))) for places in (2, 4))
        assert fit(coarse, fine) is fit(fine, coarse) is Fit.OTHER


FIELDS = [field for field, _, _ in COLUMNS.values()]
WIDE = codec_for(*FIELDS)


@st.composite
def some_columns(draw: st.DrawFn) -> list[int]:
    """Places of columns, in any order."""
    places = draw(st.permutations(range(len(FIELDS))))
    return list(places[: draw(st.integers(0, len(places)))])


class TestProjection:
    @given(ROWS, some_columns())
    def test_yields_what_its_own_entry_would(self, row: tuple[Any, ...], places: list[int]) -> None:
        own = codec_for(*(FIELDS[place] for place in places))
        decode = fit(own, WIDE)
        assert same([*decode(WIDE.encode(row))], [row[place] for place in places])

    @given(ROWS, some_columns(), st.binary(max_size=3), st.integers(0, 400))
    def test_of_damaged_bytes_is_undecodable_or_has_the_right_types(
        self, row: tuple[Any, ...], places: list[int], patch: bytes, at: int
    ) -> None:
        payload = WIDE.encode(row)
        payload = payload[: at % len(payload)] + patch + payload[at % len(payload) + 1 :]
        decode = fit(codec_for(*(FIELDS[place] for place in places)), WIDE)
        try:
            values = decode(payload)
        except UndecodableEntryError:
            return
        kinds = [kind for _, _, kind in COLUMNS.values()]
        for value, place in zip(values, places, strict=True):
            assert value is None or kinds[place] is object or type(value) is kinds[place]

    def test_has_its_own_order(self) -> None:
        theirs = codec_for(a(), named("c", models.TextField()), b())
        assert fit(codec_for(b(), a()), theirs)(theirs.encode([1, "x", 2])) == [2, 1]

    def test_shares_nothing_between_reads(self) -> None:
        notes = named("notes", models.JSONField())
        payload = codec_for(a(), notes).encode([1, {"x": []}])
        decode = fit(codec_for(notes), codec_for(a(), notes))
        (once,), (twice,) = decode(payload), decode(payload)
        assert once == twice == {"x": []}
        assert once is not twice


class TestIndexEntry:
    def test_of_another_column_or_type_is_another_schema(self) -> None:
        """Of a release that gave the attribute of a declared key another column, or its column another type."""
        place = runtime.current().place(registry.for_model(Gadget), connection)
        index = next(one for one in place.indexes if one.key.name == "listing:section_id")
        (field,) = index.key.fields
        moved, retyped = copy.copy(field), models.TextField()
        moved.column = "elsewhere"
        retyped.set_attributes_from_name("section_id")
        retyped.model = Gadget
        prints = {
            index_like(index, place, key=replace(index.key, fields=(one,)))._print.digest()
            for one in (field, moved, retyped)
        }
        assert len(prints) == 3


def index_like(index: Index, place: Place, *, key: ResolvedKey) -> IndexSource:
    assert index.source is not None
    assert index.naming is not None
    assert place.source is not None
    return IndexSource(
        Gadget,
        connection,
        key=key,
        naming=index.naming,
        space=index.space,
        policy=place.source.policy,
        rows=place.source,
        is_exact=True,
    )


def hashed(record: bytes) -> bytes:
    return blake2b(record, digest_size=8).digest()


GARBAGE = [
    pytest.param(b"", id="empty"),
    pytest.param(b"\x00\xff" * 50, id="garbage"),
    pytest.param(pickle.dumps((1, True, "UTC", [("a", "integer")])), id="a pickle"),
    pytest.param(b'[1, true, "UTC", [["a", "integer"]]]', id="JSON"),
    pytest.param(msgpack.encode((1, True, "UTC")), id="too short"),
    pytest.param(msgpack.encode((1, True, "UTC", [("a",)])), id="a column without a type"),
    pytest.param(msgpack.encode((1, True, "UTC", [("a", 5)])), id="a type that is a number"),
    pytest.param(msgpack.encode(("1", True, "UTC", [])), id="a version in words"),
    pytest.param(msgpack.encode((1, True, "UTC", [])) + b"\xc0", id="followed by more"),
    pytest.param(b"\x91" * 100_000, id="nested without end"),
    pytest.param(b"\xdd\xff\xff\xff\xff", id="four billion columns"),
    pytest.param(msgpack.encode((1, True, "UTC", [("a" * 300_000, "integer")])), id="huge"),
]


class TestRecord:
    @pytest.mark.parametrize("record", GARBAGE)
    def test_that_says_nothing_is_refused_though_it_has_the_hash(self, record: bytes) -> None:
        with pytest.raises(UndecodableEntryError):
            codec_for(a()).decoder_for(hashed(record), record)

    def test_of_another_fingerprint_is_refused(self) -> None:
        theirs = codec_for(a(), b())
        with pytest.raises(UndecodableEntryError):
            codec_for(a()).decoder_for(hashed(b"x"), theirs.schema.record)

    def test_of_a_thousand_columns_is_small_enough(self) -> None:
        fields = [in_table("a_table_with_a_name", named(f"column_{n:058}", models.TextField())) for n in range(1000)]
        wide = codec_for(*fields)
        assert len(wide.schema.record) < LARGEST_RECORD
        assert callable(fit(codec_for(fields[-1]), wide))

    def test_with_a_column_twice_is_read_by_type(self) -> None:
        """Nobody of ours tells such; whoever can write there could write entries as well."""
        record = msgpack.encode((1, True, "UTC", [("a", "integer"), ("a", "integer")]))
        assert codec_for(a()).decoder_for(hashed(record), record)(b"\x92\x01\x02") == [2]  # type: ignore[operator]


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(os.environ[VALKEY_URL]) as client:
        yield client


def list_instead(client: redis.Redis, key: str) -> None:
    client.rpush(key, "a")
    client.pexpire(key, 60_000)


def put(record: bytes) -> Callable[[redis.Redis, str], object]:
    return lambda client, key: client.set(key, record, px=60_000)


@pytest.mark.django_db(transaction=True)
class TestInRedis:
    @pytest.mark.parametrize(
        "place",
        [
            pytest.param(lambda client, key: None, id="missing"),
            pytest.param(list_instead, id="a list"),
            pytest.param(put(b"\xff" * 1_000_000), id="a megabyte"),
            *(pytest.param(put(one.values[0]), id=str(one.id)) for one in GARBAGE),
        ],
    )
    def test_what_is_no_record_makes_the_entry_a_miss(
        self, client: redis.Redis, place: Callable[[redis.Redis, str], object]
    ) -> None:
        """One row, and in a batch."""
        first, second = (Product.objects.create(name=name) for name in ("first", "second"))
        Product.cached.in_bulk([first.pk, second.pk])
        space = runtime.current().place(registry.for_model(Product), connection).space
        fingerprint = os.urandom(8)
        place(client, space.schema(fingerprint.hex()))
        for product in (first, second):
            key = space.entry(str(product.pk))
            entry = client.get(key)
            client.set(key, entry[:HEADER_SIZE] + fingerprint + entry[HEADER_SIZE + 8 :], px=60_000)
        counts = dict(registry.for_model(Product).tally.counts)
        assert Product.cached.get(pk=first.pk).name == "first"
        assert [one.name for one in Product.cached.in_bulk([first.pk, second.pk]).values()] == ["first", "second"]
        after = registry.for_model(Product).tally.counts
        assert [after[event] - counts[event] for event in (Event.UNDECODABLE, Event.MISS, Event.FILL)] == [2, 2, 2]

    def test_many_unknown_ones_in_a_batch_are_misses(self, client: redis.Redis) -> None:
        """Not all are asked about: so many releases there are not."""
        pks = [one.pk for one in Product.objects.bulk_create([Product(name=f"{n}") for n in range(3 * MOST_ASKED)])]
        Product.cached.in_bulk(pks)
        space = runtime.current().place(registry.for_model(Product), connection).space
        for pk in pks:
            entry = client.get(space.entry(str(pk)))
            client.set(space.entry(str(pk)), entry[:HEADER_SIZE] + os.urandom(8) + entry[HEADER_SIZE + 8 :], px=60_000)
        source = runtime.current().place(registry.for_model(Product), connection).source
        assert source is not None
        source.schemas._fits.clear()
        fills = registry.for_model(Product).tally.counts[Event.FILL]
        assert len(Product.cached.in_bulk(pks)) == len(pks)
        assert registry.for_model(Product).tally.counts[Event.FILL] == fills + len(pks)
        assert len(source.schemas._fits) == MOST_ASKED

    def test_it_is_told_with_a_time_to_live_and_explains_the_entries(self, client: redis.Redis) -> None:
        runtime.reset()  # a process that has not filled yet
        product = Product.objects.create(name="lamp", price=7)
        Product.cached.get(pk=product.pk)
        source = runtime.current().place(registry.for_model(Product), connection).source
        assert source is not None
        key = source.space.schema(source._codec.fingerprint.hex())
        record, entry = client.get(key), client.get(source.space.entry(str(product.pk)))
        assert 0 < client.pttl(key) <= 600_000
        names = row_codec([Product._meta.get_field("name")], connection, use_tz=True)
        schemas: Schemas[Any] = Schemas(b"", b"", names.decoder_for, runtime.current().places._clock)
        schemas.learn(entry[HEADER_SIZE : HEADER_SIZE + 8], record)
        assert schemas.decoder(entry[HEADER_SIZE : HEADER_SIZE + 8])(entry[HEADER_SIZE + 8 :]) == ["lamp"]

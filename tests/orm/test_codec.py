"""The row codec against every field class of Django, on values as SQLite and PostgreSQL yield them."""

from __future__ import annotations

import datetime as dt
import importlib
import inspect
import json
import math
import os
import pkgutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import django.contrib.postgres.fields
import django.db.models
import pytest
from django.apps.registry import Apps
from django.contrib.postgres import fields as pg
from django.contrib.postgres import search
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections, models
from django.db.models.fields.proxy import OrderWrt
from django.db.models.functions import Lower
from django.utils.safestring import SafeString
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.types.range import Range

from django_cacheaside.exceptions import UncacheableRowError, UndecodableEntryError
from django_cacheaside.orm.codec import RowCodec, row_codec, wires
from django_cacheaside.orm.codec.fields import Source, wire_of
from django_cacheaside.orm.codec.same import same

UTC = dt.timezone.utc
PARIS = ZoneInfo("Europe/Paris")
NO_COLUMN = {
    "django.db.models.fields.Field": "abstract",
    "django.db.models.fields.composite.CompositePrimaryKey": "its parts have the columns",
    "django.db.models.fields.related.ForeignObject": "no column",
    "django.db.models.fields.related.ManyToManyField": "no column",
    "django.db.models.fields.related.RelatedField": "abstract",
    "django.contrib.postgres.fields.ranges.ContinuousRangeField": "abstract",
    "django.contrib.postgres.fields.ranges.RangeField": "abstract",
    "django.contrib.postgres.search._Float4Field": "private: the type of a cast",
}


def path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def field_classes() -> dict[str, type[models.Field]]:
    found = set()
    for package in (django.db.models, django.contrib.postgres):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for item in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(item) and issubclass(item, models.Field) and item.__module__.startswith("django."):
                    found.add(item)
    return {path(kind): kind for kind in found if path(kind) not in NO_COLUMN}


@dataclass(frozen=True)
class Sample:
    """Attributes: options: for the field; values: what a database may yield; stored: what to store, by vendor."""

    options: Callable[[], dict[str, Any]]
    values: Sequence[Any]
    sqlite: Sequence[Any] | None = None
    postgresql: Sequence[Any] | None = None

    def stored(self, vendor: str) -> Sequence[Any]:
        chosen = self.sqlite if vendor == "sqlite" else self.postgresql
        return self.values if chosen is None else chosen


def sample(*values: Any, sqlite: Sequence[Any] | None = None, postgresql: Sequence[Any] | None = None, **options: Any):
    return Sample(lambda: options, values, sqlite, postgresql)


def only_pg(options: Callable[[], dict[str, Any]], *values: Any) -> Sample:
    return Sample(options, values, sqlite=())


def ints(bits: int, *, low: int | None = None) -> Sample:
    return sample(0, 1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)) if low is None else low)


texts = sample("", "a", "ä€𝄞", "line\n\ttab\x7f", "a" * 200, max_length=200)
moments = [
    dt.datetime(1, 1, 1, tzinfo=UTC),
    dt.datetime.max.replace(tzinfo=UTC),
    dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    dt.datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
]
dates = [dt.date.min, dt.date.max, dt.date(2024, 2, 29)]
big = [2**70, -(2**70)]
plain_json = [{}, [], "", "a", 0, 1.5, True, [1, [None, {"ä": "€", "a": {"b": [False]}}]], {"b": 1, "a": 2}, *big]
decimals = [Decimal("1.50"), Decimal("-0.00"), Decimal("0.00"), Decimal("-99999999.99")]
odd_decimals = [*map(Decimal, ["NaN", "-NaN", "sNaN", "NaN123", "Infinity", "-Infinity", "-0", "1E+5", "0E-10"])]
durations = [dt.timedelta(0), dt.timedelta(days=-1, microseconds=1), dt.timedelta(days=90000, microseconds=999999)]
addresses = sample("127.0.0.1", "10.0.0.255", postgresql=["127.0.0.1", "2001:db8::1"])
fk = {"on_delete": models.DO_NOTHING, "db_constraint": False}


def ranges(*ends: Any, canonical: str = "[)") -> list[Any]:
    low, high = ends
    bounds = [canonical] if canonical == "[)" else ["[)", "[]", "()", "(]"]
    some = [Range(low, high, bound) for bound in bounds]
    return [*some, Range(None, high, "()"), Range(low, None, "[)"), Range(None, None, "()"), Range(empty=True)]


SAMPLES: dict[type[models.Field], Sample] = {
    models.AutoField: sample(1, 2**31 - 1, primary_key=True),
    models.BigAutoField: sample(1, 2**63 - 1, primary_key=True),
    models.SmallAutoField: sample(1, 2**15 - 1, primary_key=True),
    models.IntegerField: ints(32),
    models.BigIntegerField: ints(64),
    models.SmallIntegerField: ints(16),
    models.PositiveIntegerField: ints(32, low=0),
    models.PositiveBigIntegerField: ints(64, low=0),
    models.PositiveSmallIntegerField: ints(16, low=0),
    OrderWrt: ints(32),
    models.BooleanField: sample(True, False),
    models.NullBooleanField: sample(True, False),
    models.CharField: texts,
    models.TextField: texts,
    models.SlugField: texts,
    models.EmailField: texts,
    models.URLField: texts,
    models.FilePathField: texts,
    models.FileField: texts,
    models.ImageField: texts,
    models.CommaSeparatedIntegerField: texts,
    pg.CICharField: texts,
    pg.CIEmailField: texts,
    pg.CITextField: texts,
    models.DateField: sample(*dates),
    models.DateTimeField: sample(*moments),
    models.TimeField: sample(dt.time.min, dt.time.max, dt.time(1, 2, 3)),
    models.DurationField: sample(
        dt.timedelta.min, dt.timedelta.max, *durations, sqlite=durations, postgresql=[*durations, dt.timedelta.max]
    ),
    models.DecimalField: sample(
        *decimals, *odd_decimals, sqlite=decimals, postgresql=decimals, max_digits=10, decimal_places=2
    ),
    models.FloatField: sample(
        0.0, -0.0, 0.1, 1.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, sqlite=[0.1, 1.0, math.inf]
    ),
    models.UUIDField: sample(uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.uuid4()),
    models.BinaryField: sample(b"", b"\x00\xff", b"\x00" * 70000),
    models.GenericIPAddressField: addresses,
    models.IPAddressField: addresses,
    models.JSONField: sample(
        *plain_json, math.nan, -0.0, "\ud800", [math.inf], sqlite=plain_json, postgresql=plain_json
    ),
    pg.JSONField: sample(*plain_json),
    models.ForeignKey: sample(1, 2**63 - 1, to="Target", **fk),
    models.OneToOneField: sample(uuid.UUID(int=7), to="Child", **fk),
    models.GeneratedField: Sample(
        lambda: {"expression": Lower("base"), "output_field": models.CharField(max_length=9), "db_persist": True},
        ["", "a", "é"],
    ),
    pg.ArrayField: only_pg(
        lambda: {"base_field": pg.ArrayField(models.DateTimeField(null=True))}, [], [[moments[0], None], moments[1:3]]
    ),
    pg.HStoreField: sample({}, {"a": "", "ä": None}, sqlite=(), postgresql=()),  # no hstore in the embedded server
    pg.IntegerRangeField: only_pg(dict, *ranges(-(2**31), 5)),
    pg.BigIntegerRangeField: only_pg(dict, *ranges(-(2**63), 2**62)),
    pg.DecimalRangeField: only_pg(dict, *ranges(Decimal("1.50"), Decimal("2.000"), canonical="any")),
    pg.DateTimeRangeField: only_pg(dict, *ranges(moments[2], moments[3], canonical="any")),
    pg.DateRangeField: only_pg(dict, *ranges(dt.date(1, 1, 1), dates[2])),
    search.SearchVectorField: only_pg(dict, "", "'a':1A 'b':2"),
    search.SearchQueryField: only_pg(dict, "'a' & 'b'"),
}

every_class = pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in SAMPLES])


def model_with(field: models.Field, **more: models.Field) -> type[models.Model]:
    """A model of which Django's registry knows nothing, with something for relations to point to."""
    registry = Apps()

    def meta(table: str) -> type:
        return type("Meta", (), {"app_label": "codec_tests", "apps": registry, "db_table": f"codec_tests_{table}"})

    def model(name: str, **attributes: Any) -> type[models.Model]:
        return type(name, (models.Model,), {"__module__": __name__, "Meta": meta(name), **attributes})

    model("Target", slug=models.SlugField(unique=True))
    parent = model("Parent", id=models.UUIDField(primary_key=True))
    model("Child", parent=models.OneToOneField(parent, models.CASCADE, primary_key=True))
    return model("Row", value=field, base=models.TextField(null=True), **more)


def make(kind: type[models.Field]) -> models.Field:
    given = SAMPLES[next(base for base in kind.__mro__ if base in SAMPLES)].options()
    field = kind(**given) if "primary_key" in given else kind(null=True, **given)
    model_with(field)
    return field


def codec_for(*fields: models.Field, zone: dt.tzinfo | None = UTC, driver: str = "psycopg") -> RowCodec:
    source = SimpleNamespace(timezone=zone, timezone_name=str(zone), Database=SimpleNamespace(__name__=driver))
    return row_codec(fields, source, use_tz=zone is not None)


def column(field: models.Field, **options: Any) -> RowCodec:
    """The codec of one column; a field that is in no model yet gets a name."""
    if not hasattr(field, "attname"):
        field.set_attributes_from_name("value")
    return codec_for(field, **options)


def passes(codec: RowCodec, value: object) -> bool:
    """Whether it came back as it went in, a range's ends included; twice, and nothing mutable is shared."""
    payload = codec.encode([value])
    (once,), (twice,) = codec.decode(payload), codec.decode(payload)
    if once is twice and type(once).__hash__ is None:
        return False
    if isinstance(value, Range):
        return type(once) is Range and same(
            [once.lower, once.upper, once.bounds], [value.lower, value.upper, value.bounds]
        )
    return same(once, value) and same(twice, value)


class TestEveryFieldClass:
    def test_has_samples(self) -> None:
        missing = sorted(field_classes().keys() - {path(kind) for kind in SAMPLES})
        assert not missing, f"Django has fields unknown to the codec: give them a wire and a Sample: {missing}"

    @every_class
    def test_none_and_extremes_come_back(self, kind: type[models.Field]) -> None:
        codec = column(make(kind))
        for value in (None, *SAMPLES[kind].values):
            assert passes(codec, value), value

    @every_class
    def test_a_subclass_that_reads_like_its_parent_takes_its_wire(self, kind: type[models.Field]) -> None:
        plain = type("Plain", (kind,), {"to_python": lambda self, value: 1 / 0, "validate": None})
        source = Source(UTC, blob=wires.BYTES)
        assert wire_of(make(plain), source).name == wire_of(make(kind), source).name

    @every_class
    @pytest.mark.parametrize("hook", ["from_db_value", "get_db_converters"])
    def test_a_subclass_that_reads_otherwise_travels_as_text(self, kind: type[models.Field], hook: str) -> None:
        own = type("Own", (kind,), {hook: lambda self, *args: None})
        assert wire_of(make(own), Source(UTC, blob=wires.BYTES)).name == f"own[{__name__}.Own]"


@pytest.fixture
def yielded(request: pytest.FixtureRequest) -> Callable[..., tuple[models.Field, list[Any]]]:
    """Store values and read them: the column's field and what the database yields for it."""
    request.getfixturevalue("commits")

    def read(alias: str, field: models.Field, values: Sequence[Any]) -> tuple[models.Field, list[Any]]:
        row = model_with(field)
        name = "base" if field.generated else field.attname
        with connections[alias].schema_editor() as editor:
            editor.create_model(row)
        try:
            for value in values:
                row.objects.using(alias).create(**{name: value})
            return field, [*row.objects.using(alias).order_by("pk").values_list(field.attname, flat=True)]
        finally:
            with connections[alias].schema_editor() as editor:
                editor.delete_model(row)

    return read


@contextmanager
def time_zone(alias: str, name: str | None) -> Iterator[None]:
    """The connection's TIME_ZONE, as ``DATABASES`` would set it."""
    connection = connections[alias]
    before = connection.settings_dict["TIME_ZONE"]

    def change(to: str | None) -> None:
        connection.settings_dict["TIME_ZONE"] = to
        for cached in ("timezone", "timezone_name"):
            connection.__dict__.pop(cached, None)
        connection.ensure_timezone()

    change(name)
    try:
        yield
    finally:
        change(before)


ALIASES = {"default": "postgresql", "sqlite": "sqlite"}
every_alias = pytest.mark.parametrize("alias", ALIASES)
every_column = pytest.mark.parametrize(
    ("alias", "kind", "stored"),
    [
        pytest.param(alias, kind, stored, id=f"{alias}-{kind.__name__}")
        for alias, vendor in ALIASES.items()
        for kind, given in SAMPLES.items()
        if (stored := given.stored(vendor))
    ],
)


@pytest.mark.usefixtures("commits")
class TestWhatDatabasesYield:
    @every_column
    def test_comes_back(self, alias: str, kind: type[models.Field], stored: Sequence[Any], yielded: Any) -> None:
        field = make(kind)
        nothing = [] if field.primary_key else [None]
        field, values = yielded(alias, field, [*stored, *nothing])
        codec = row_codec([field], connections[alias], use_tz=True)
        assert len(values) == len(stored) + len(nothing)
        assert all(passes(codec, value) for value in values)

    @every_alias
    @pytest.mark.parametrize("zone", [None, "UTC", "Europe/Paris", "Asia/Tokyo"])
    def test_aware_dates_come_back_in_the_connections_zone(self, alias: str, zone: str | None, yielded: Any) -> None:
        """Both sides of an hour that Paris has twice, too: the fold is part of the value."""
        stored = [dt.datetime(2024, 10, 27, hour, 30, tzinfo=UTC) for hour in (0, 1)] + moments[2:]
        with time_zone(alias, zone):
            field, values = yielded(alias, models.DateTimeField(), stored)
            codec = row_codec([field], connections[alias], use_tz=True)
            expected = ZoneInfo(zone) if zone else UTC
            assert {value.tzinfo for value in values} == {expected}
            assert all(passes(codec, value) for value in values)

    @pytest.mark.parametrize("zone", [None, "Europe/Paris"])
    @pytest.mark.parametrize(
        ("field", "stored"),
        [
            (pg.ArrayField(models.DateTimeField()), [moments[2:]]),
            (pg.DateTimeRangeField(), ranges(*moments[2:], canonical="any")),
        ],
    )
    def test_dates_in_arrays_and_ranges_too(self, field: Any, stored: Any, zone: str | None, yielded: Any) -> None:
        with time_zone("default", zone):
            field, values = yielded("default", field.clone(), stored)
            codec = row_codec([field], connections["default"], use_tz=True)
            assert all(passes(codec, value) for value in values)

    @every_alias
    def test_dates_are_naive_without_use_tz(self, alias: str, settings: Any, yielded: Any) -> None:
        settings.USE_TZ = False
        stored = [moment.replace(tzinfo=None) for moment in moments]
        field, values = yielded(alias, models.DateTimeField(), stored)
        codec = row_codec([field], connections[alias], use_tz=False)
        assert values == stored
        assert all(passes(codec, value) for value in values)


class Colour(Enum):
    RED = "red"


class Point:
    """A value that is mutable and compares by value."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None


class OwnField(models.CharField):
    """Reads through from_db_value; tests override how it is written as a string and read back."""

    def from_db_value(self, value: Any, *args: Any) -> Any:
        return value


def own(write: Callable[[Any], Any], read: Callable[[str], Any]) -> RowCodec:
    methods = {
        "value_to_string": lambda self, obj: write(self.value_from_object(obj)),
        "to_python": staticmethod(read),
    }
    return column(type("CustomField", (OwnField,), methods)())


class TestOwnFields:
    def test_come_back_if_they_survive_the_string(self) -> None:
        assert passes(own(lambda value: value.value, Colour), Colour.RED)
        assert passes(own(lambda value: str(value.x), lambda text: Point(int(text))), Point(3))

    @pytest.mark.parametrize(
        ("write", "read", "value"),
        [
            pytest.param(str, int, True, id="another type"),
            pytest.param(str, float, math.nan, id="nan survives"),
            pytest.param(str, lambda text: Decimal(text).normalize(), Decimal("1.50"), id="another exponent"),
            pytest.param(str, str, 5, id="no to_python"),
            pytest.param(lambda value: value, str, 5, id="not a string"),
            pytest.param(SafeString, str, "a", id="a subclass of str"),
            pytest.param(lambda value: 1 / 0, str, "a", id="value_to_string raises"),
            pytest.param(str, lambda text: 1 / 0, "a", id="to_python raises"),
            pytest.param(lambda value: "\ud800", lambda text: 5, 5, id="half a surrogate pair"),
            pytest.param(lambda value: str(value.x), lru_cache(lambda text: Point(int(text))), Point(3), id="shared"),
        ],
    )
    def test_are_refused_by_name_otherwise(self, write: Any, read: Any, value: Any) -> None:
        codec = own(write, read)
        if value is math.nan:
            assert passes(codec, value)
        else:
            with pytest.raises(UncacheableRowError, match="value"):
                codec.encode([value])

    def test_of_which_reading_raises_are_undecodable(self) -> None:
        with pytest.raises(UndecodableEntryError):
            own(str, int).decode(b"\x91\xa1x")

    def test_without_a_known_ancestor_take_the_same_way(self) -> None:
        class Unknown(models.Field):
            def to_python(self, value: Any) -> Any:
                return int(value)

        assert passes(column(Unknown()), 2**80)

    def test_within_generated_columns_and_arrays_too(self) -> None:
        inner = type("Coloured", (OwnField,), {"value_to_string": lambda self, obj: getattr(obj, self.attname).value})
        inner.to_python = staticmethod(Colour)
        generated = models.GeneratedField(expression=Lower("base"), output_field=inner(), db_persist=True)
        assert passes(column(generated), Colour.RED)
        assert passes(column(pg.ArrayField(inner())), [Colour.RED, None])


class Tagging(json.JSONEncoder):
    def default(self, o: Any) -> Any:
        return {"colour": o.value}


class Untagging(json.JSONDecoder):
    def __init__(self, **options: Any) -> None:
        super().__init__(object_hook=lambda found: Colour(found["colour"]) if "colour" in found else found, **options)


class TestRefusals:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            (models.IntegerField(), "5"),  # SQLite keeps text in any column
            (models.IntegerField(), True),
            (models.IntegerField(), 1.0),
            (models.IntegerField(), 2**64),
            (models.IntegerField(), -(2**63) - 1),
            (models.BooleanField(), 1),
            (models.FloatField(), 1),
            (models.CharField(), SafeString("a")),
            (models.CharField(), "\ud800"),
            (models.CharField(), b"a"),
            (models.DateField(), dt.datetime(2024, 1, 1, tzinfo=UTC)),
            (models.DateTimeField(), moments[3].replace(tzinfo=None)),
            (models.DateTimeField(), moments[3].replace(fold=1)),
            (models.DateTimeField(), dt.datetime(2024, 1, 1, tzinfo=PARIS)),
            (models.DateTimeField(), dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC"))),
            (models.TimeField(), dt.time(1, tzinfo=UTC)),
            (models.TimeField(), dt.time(1, fold=1)),
            (models.BinaryField(), bytearray(b"a")),
            (models.BinaryField(), memoryview(b"a")),
            (models.JSONField(), (1, 2)),
            (models.JSONField(), {1: 2}),
            (models.JSONField(), {"a": SafeString("b")}),
            (models.JSONField(encoder=DjangoJSONEncoder), {"a": Decimal(1)}),
            (models.JSONField(), Colour.RED),
            (pg.ArrayField(models.IntegerField()), (1,)),
            (pg.ArrayField(models.IntegerField()), [True]),
            (pg.ArrayField(models.IntegerField()), [[1]]),
            (pg.HStoreField(), {"a": 1}),
            (pg.IntegerRangeField(), Range(1.0, 2.0)),
            (pg.IntegerRangeField(), (1, 2)),
        ],
    )
    def test_name_the_column(self, field: models.Field, value: object) -> None:
        with pytest.raises(UncacheableRowError, match="value"):
            column(field).encode([value])

    @pytest.mark.parametrize("zone", [UTC, ZoneInfo("Asia/Tokyo"), None])
    def test_of_dates_that_are_not_in_the_connections_zone(self, zone: dt.tzinfo | None) -> None:
        with pytest.raises(UncacheableRowError, match="value"):
            column(models.DateTimeField(), zone=PARIS).encode([moments[3].replace(tzinfo=zone)])

    @pytest.mark.parametrize("values", [[], [1, 2]])
    def test_of_another_number_of_values(self, values: list[int]) -> None:
        with pytest.raises(UncacheableRowError):
            column(models.IntegerField()).encode(values)

    def test_of_json_that_is_too_deep(self) -> None:
        nested: list[Any] = []
        for _ in range(100_000):
            nested = [nested]
        with pytest.raises(UncacheableRowError):
            column(models.JSONField()).encode([nested])


def test_json_with_an_encoder_and_a_decoder_that_agree_comes_back() -> None:
    assert passes(column(models.JSONField(encoder=Tagging, decoder=Untagging)), [Colour.RED, {"a": Colour.RED}])


def test_a_relation_to_a_slug_takes_the_slugs_wire() -> None:
    field = models.ForeignKey("Target", to_field="slug", **fk)
    model_with(field)
    assert passes(column(field), "lamp")


def test_psycopg_2_yields_memoryviews() -> None:
    """Of format c: one of format B has the same bytes and is not equal."""
    codec = column(models.BinaryField(), driver="psycopg2")
    assert passes(codec, memoryview(b"\x00a").cast("c"))
    assert passes(codec, memoryview(b"").cast("c"))
    with pytest.raises(UncacheableRowError, match="value"):
        codec.encode([memoryview(b"a")])


@pytest.mark.parametrize("moment", [*moments, dt.datetime(2024, 3, 31, 2, 30, tzinfo=PARIS)])
@pytest.mark.parametrize("fold", [0, 1])
def test_any_wall_clock_of_a_zone_comes_back(moment: dt.datetime, fold: int) -> None:
    """Those that are no instant, skipped by summer time or beyond the year 9999 in UTC, included."""
    assert passes(column(models.DateTimeField(), zone=PARIS), moment.replace(tzinfo=PARIS, fold=fold))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def without_fold(moment: Any) -> Any:
    """No database yields a fold in UTC, or without a zone."""
    return moment.replace(fold=0)


NUMBERS = st.integers(-(2**63), 2**64 - 1)
COLUMNS: dict[str, tuple[models.Field, st.SearchStrategy[Any], type]] = {
    "id": (models.BigAutoField(primary_key=True), NUMBERS, int),
    "name": (models.CharField(), st.text(), str),
    "is_new": (models.BooleanField(), st.booleans(), bool),
    "price": (models.DecimalField(), st.decimals(), Decimal),
    "weight": (models.FloatField(), st.floats(), float),
    "day": (models.DateField(), st.dates(), dt.date),
    "hour": (models.TimeField(), st.times().map(without_fold), dt.time),
    "made": (models.DateTimeField(), st.datetimes(timezones=st.just(UTC)).map(without_fold), dt.datetime),
    "takes": (models.DurationField(), st.timedeltas(), dt.timedelta),
    "token": (models.UUIDField(), st.uuids(), uuid.UUID),
    "blob": (models.BinaryField(), st.binary(), bytes),
    "notes": (models.JSONField(), JSON, object),
    "tags": (pg.ArrayField(models.DateField()), st.lists(st.none() | st.dates()), list),
    "labels": (pg.HStoreField(), st.dictionaries(st.text(), st.none() | st.text()), dict),
    "span": (pg.IntegerRangeField(), st.builds(Range, st.none() | NUMBERS, st.none() | NUMBERS), Range),
}
for _name, (_field, _, _) in COLUMNS.items():
    _field.set_attributes_from_name(_name)
WIDE = codec_for(*(field for field, _, _ in COLUMNS.values()))
ROWS = st.tuples(*(st.none() | values for _, values, _ in COLUMNS.values()))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An encoded row, cut, with bytes changed, or followed by more."""
    payload = bytearray(WIDE.encode(draw(ROWS)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(payload)))
        payload[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(payload[: draw(st.integers(0, len(payload)))] if draw(st.booleans()) else payload)


class TestAnyRow:
    @given(ROWS)
    def test_comes_back(self, row: tuple[Any, ...]) -> None:
        assert same([*WIDE.decode(WIDE.encode(row))], [*row])

    @given(ROWS)
    def test_has_no_part_that_two_reads_share(self, row: tuple[Any, ...]) -> None:
        payload = WIDE.encode(row)
        for once, twice in zip(WIDE.decode(payload), WIDE.decode(payload), strict=True):
            assert once is not twice or type(once).__hash__ is not None

    @given(
        st.binary()
        | damaged()
        | ROWS.map(WIDE.encode).flatmap(lambda whole: st.integers(0, 9).map(lambda n: whole[:n]))
    )
    @example(b"")
    @example(b"\x91" * 100_000)
    @example(b"\xdd\xff\xff\xff\xff")
    @example(WIDE.encode([None] * len(COLUMNS)) + b"\xc0")
    def test_as_other_bytes_is_undecodable_or_has_the_right_types(self, payload: bytes) -> None:
        try:
            row = WIDE.decode(payload)
        except UndecodableEntryError:
            return
        assert len(row) == len(COLUMNS)
        for value, (_, _, expected) in zip(row, COLUMNS.values(), strict=True):
            assert value is None or expected is object or type(value) is expected

    def test_with_json_that_never_ends_is_undecodable(self) -> None:
        text = b"[" * 100_000
        with pytest.raises(UndecodableEntryError):
            column(models.JSONField()).decode(b"\x91\xdb" + len(text).to_bytes(4, "big") + text)


def test_a_row_of_no_columns_comes_back() -> None:
    assert [*codec_for().decode(codec_for().encode([]))] == []


def test_bytes_and_fingerprint_are_what_older_releases_wrote() -> None:
    """If this fails, the bytes changed: raise ``VERSION`` in ``row.py``, then write the new ones here."""
    values = [7, "lamp", Decimal("1.50"), moments[3], None]
    codec = codec_for(*(COLUMNS[name][0] for name in ("id", "name", "price", "made", "notes")))
    assert codec.encode(values).hex() == "9507a46c616d70a4312e3530d6ff65e078c8c0"
    assert codec.fingerprint.hex() == "228acfecc0112888"


FINGERPRINT = """
import sys
sys.path.insert(0, {root!r})
from django.conf import settings
settings.configure()
import django
django.setup()
from tests.orm.test_codec import WIDE
print(WIDE.fingerprint.hex())
"""


class TestFingerprint:
    def test_is_the_same_in_every_process(self) -> None:
        root = os.fspath(Path(__file__).parents[2])
        for seed in ("1", "2"):
            command = [sys.executable, "-c", FINGERPRINT.format(root=root)]
            env = {**os.environ, "PYTHONHASHSEED": seed}
            output = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
            assert output.strip() == WIDE.fingerprint.hex()

    def test_differs_by_name_order_type_and_zone(self) -> None:
        def named(name: str, field: models.Field) -> models.Field:
            field.set_attributes_from_name(name)
            return field

        a, b = named("a", models.IntegerField()), named("b", models.IntegerField())
        codecs = [
            codec_for(a, b),
            codec_for(b, a),
            codec_for(a),
            codec_for(a, named("c", models.IntegerField())),
            codec_for(a, named("b", models.TextField())),
            codec_for(a, named("b", OwnField())),
            codec_for(a, named("b", models.JSONField())),
            codec_for(a, named("b", models.JSONField(decoder=Untagging))),
            codec_for(a, named("b", models.JSONField(encoder=Tagging))),
            codec_for(a, named("b", pg.ArrayField(models.IntegerField()))),
            codec_for(a, named("b", pg.ArrayField(models.TextField()))),
            codec_for(a, b, zone=None),
            codec_for(a, b, zone=PARIS),
        ]
        assert len({codec.fingerprint for codec in codecs}) == len(codecs)
        assert {len(codec.fingerprint) for codec in codecs} == {8}

    def test_is_equal_for_equal_columns(self) -> None:
        assert column(models.CharField(max_length=3)).fingerprint == column(models.TextField(null=True)).fingerprint


def test_use_tz_decides_whether_dates_are_naive() -> None:
    field = make(models.DateTimeField)
    connection: Any = SimpleNamespace(timezone=UTC, timezone_name="UTC")
    aware, naive = (row_codec([field], connection, use_tz=use_tz) for use_tz in (True, False))
    assert passes(aware, moments[3])
    assert passes(naive, moments[3].replace(tzinfo=None))


class TestSame:
    @pytest.mark.parametrize(
        ("left", "right"),
        [
            (1, True),
            (1, 1.0),
            (0.0, -0.0),
            (Decimal(1), Decimal("1.0")),
            (Decimal(0), Decimal("-0")),
            ([1], (1,)),
            ([1], [1, 1]),
            ({"a": 1}, {"a": True}),
            ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
            (moments[3], moments[3].astimezone(PARIS)),
            (dt.time(1), dt.time(1, fold=1)),
            ("a", SafeString("a")),
        ],
    )
    def test_sees_every_difference(self, left: object, right: object) -> None:
        assert not same(left, right)

    @pytest.mark.parametrize("value", [math.nan, Decimal("sNaN"), [math.nan, {"a": (1, None)}], moments[3], Colour.RED])
    def test_knows_a_copy(self, value: object) -> None:
        assert same(value, value)

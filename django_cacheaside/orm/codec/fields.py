"""Which wire each model field takes: by its class, or by the nearest ancestor that is Django's own.

A subclass that changes how a column is read (``from_db_value``, ``get_db_converters``), and a class we have never heard
of, travel as text, by their own ``value_to_string`` and ``to_python``.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db import models

from django_cacheaside.orm.codec import wires
from django_cacheaside.orm.codec.wires import Wire, path_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    AnyField: TypeAlias = models.Field[Any, Any]


@dataclass(frozen=True)
class Source:
    """What of a connection decides the types of the values it yields.

    Attributes:
        zone: The tzinfo of aware datetimes; ``None`` if they are naive.
        blob: The wire of binary columns: psycopg 2 yields memoryviews.
    """

    zone: dt.tzinfo | None
    blob: Wire

    @classmethod
    def of(cls, connection: BaseDatabaseWrapper, *, use_tz: bool) -> Source:
        driver = getattr(getattr(connection, "Database", None), "__name__", "")
        blob = wires.MEMORYVIEW if driver == "psycopg2" else wires.BYTES
        return cls(zone=connection.timezone if use_tz else None, blob=blob)

    @property
    def moment(self) -> Wire:
        """The wire of datetimes."""
        if self.zone is None:
            return wires.NAIVE
        return wires.UTC if self.zone is dt.timezone.utc else wires.zoned(self.zone)


def wire_of(field: AnyField, source: Source) -> Wire:
    """The wire of ``field``, a concrete field of a model whose apps are loaded."""
    kind = type(field)
    for ancestor in kind.__mro__:
        if build := _BUILD.get(path_of(ancestor)):
            return build(field, source) if _is_read_alike(kind, ancestor) else _own_text(field)
    return _own_text(field)


def _is_read_alike(kind: type, ancestor: type) -> bool:
    return all(
        getattr(kind, name, None) is getattr(ancestor, name, None) for name in ("from_db_value", "get_db_converters")
    )


def _own_text(field: AnyField) -> Wire:
    if not getattr(field, "attname", None):  # a GeneratedField's output: never part of a model
        field = copy.copy(field)
        field.set_attributes_from_name("value")

    def write(value: Any) -> Any:
        return field.value_to_string(SimpleNamespace(**{field.attname: value}))  # type: ignore[arg-type]

    return wires.as_text(f"own[{path_of(type(field))}]", write, field.to_python, may_share=True)


def _range(field: Any, source: Source) -> Wire:
    return wires.span(wire_of(field.base_field, source), field.range_type)


def _fixed(wire: Wire) -> Callable[[Any, Source], Wire]:
    return lambda _field, _source: wire


# By name: django.contrib.postgres can't be imported where psycopg is not installed.
_BUILD: Mapping[str, Callable[[Any, Source], Wire]] = {
    **{
        f"django.db.models.fields.{name}": _fixed(wire)
        for name, wire in {
            "BooleanField": wires.BOOLEAN,
            "CharField": wires.TEXT,
            "DateField": wires.DATE,
            "DurationField": wires.DURATION,
            "FilePathField": wires.TEXT,
            "FloatField": wires.FLOAT,
            "GenericIPAddressField": wires.TEXT,
            "IPAddressField": wires.TEXT,
            "IntegerField": wires.INTEGER,
            "TextField": wires.TEXT,
            "TimeField": wires.TIME,
            "UUIDField": wires.UUID,
            "files.FileField": wires.TEXT,
        }.items()
    },
    "django.db.models.fields.BinaryField": lambda _field, source: source.blob,
    "django.db.models.fields.DecimalField": lambda field, _source: wires.decimal(field.decimal_places),
    "django.db.models.fields.DateTimeField": lambda _field, source: source.moment,
    "django.db.models.fields.generated.GeneratedField": lambda field, source: wire_of(field.output_field, source),
    "django.db.models.fields.json.JSONField": lambda field, _source: wires.json_text(field.encoder, field.decoder),
    "django.db.models.fields.related.ForeignKey": lambda field, source: wire_of(field.target_field, source),
    "django.contrib.postgres.fields.array.ArrayField": lambda f, source: wires.array(wire_of(f.base_field, source)),
    "django.contrib.postgres.fields.hstore.HStoreField": _fixed(wires.HSTORE),
    **{
        f"django.contrib.postgres.fields.ranges.{name}": _range
        for name in (
            "BigIntegerRangeField",
            "DateRangeField",
            "DateTimeRangeField",
            "DecimalRangeField",
            "IntegerRangeField",
        )
    },
    "django.contrib.postgres.search.SearchQueryField": _fixed(wires.TEXT),
    "django.contrib.postgres.search.SearchVectorField": _fixed(wires.TEXT),
}

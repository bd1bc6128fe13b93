"""The ETag of a row's representation: of all that it is made of, so that it is a strong one.

A strong one, because ``If-Match`` compares by nothing weaker (RFC 9110, section 13.1.1). It is made before the
representation is: a request that has it already costs neither the serializer's work nor the renderer's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, Final

from django.db.models import Field, Model
from django.utils import timezone, translation
from rest_framework import relations, serializers
from rest_framework.request import Request

from django_cacheaside.orm.registry import registry

_OF_VALUE: Final = frozenset(
    {
        serializers.BooleanField,
        serializers.CharField,
        serializers.ChoiceField,
        serializers.DateField,
        serializers.DateTimeField,
        serializers.DecimalField,
        serializers.DurationField,
        serializers.EmailField,
        serializers.FloatField,
        serializers.IPAddressField,
        serializers.IntegerField,
        serializers.JSONField,
        serializers.ModelField,
        serializers.ReadOnlyField,
        serializers.RegexField,
        serializers.SlugField,
        serializers.TimeField,
        serializers.URLField,
        serializers.UUIDField,
        *([serializers.BigIntegerField] if hasattr(serializers, "BigIntegerField") else []),
    }
)
"""What they show is a function of the column's value, of language and time zone. Not their subclasses: who knows.
Not FileField: a storage may sign its URLs, and those run out."""

_OF_VALUES: Final = frozenset({serializers.DictField, serializers.HStoreField, serializers.ListField})


def etag_of(instance: Model, *parts: object) -> str | None:
    """A strong ETag of a row and of what else there is; None if a column of a row among them is not loaded.

    Args:
        parts: Values, of which ``repr`` tells all, and rows.
    """
    digest = blake2b(digest_size=16)
    for part in (instance, *parts):
        if isinstance(part, Model):
            if any(field.attname not in part.__dict__ for field in kept_columns(part)):
                return None
            values = [part._meta.concrete_model._meta.label, *map(str, _written(part))]  # type: ignore[union-attr]
        else:
            values = [repr(part)]
        for value in values:
            raw = value.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(raw) + raw)  # with its length: ("a", "bc") is not ("ab", "c")
    return f'"{digest.hexdigest()}"'


def kept_columns(instance: Model) -> list[Field[Any, Any]]:
    """The columns of a row that the cache keeps: those that it is told by, however it was read."""
    registration = registry.get(type(instance))
    excluded = frozenset() if registration is None else registration.options.exclude
    return [field for field in instance._meta.concrete_fields if field.attname not in excluded]


def _written(instance: Model) -> Iterator[str]:
    """A row's values as text; NULL is no text."""
    for field in kept_columns(instance):
        value = None if getattr(instance, field.attname) is None else field.value_to_string(instance)
        yield repr(value)


def is_page(request: Request) -> bool:
    """Is the answer a page, as the browsable API's? It shows forms, their CSRF tokens and the user beside the row."""
    return bool(request.accepted_renderer.media_type == "text/html")


def parts_of_request(request: Request) -> tuple[object, ...]:
    """What one row's representation may depend on without any serializer's doing."""
    return (
        request.accepted_media_type,
        request.version,
        getattr(request.user, "pk", None),
        translation.get_language(),
        timezone.get_current_timezone_name(),
    )


def parts_of_serializer(serializer: object, instance: Model) -> tuple[object, ...] | None:
    """What a serializer shows of the row; None if that may be more than the row's columns, or other than they are."""
    if not isinstance(serializer, serializers.Serializer):
        return None
    kind = type(serializer)
    if (
        kind.to_representation is not serializers.Serializer.to_representation
        or kind.data is not serializers.Serializer.data
        or serializer.instance is not instance
    ):
        return None
    columns = kept_columns(instance)
    values = {"pk", *(field.attname for field in columns)}
    keys = {field.name for field in columns if field.is_relation}
    shown = []
    for name, field in serializer.fields.items():
        if field.write_only:
            continue
        if not _shows(field, values, keys):
            return None
        shown.append((name, field.source, type(field).__name__))
    return (f"{kind.__module__}.{kind.__qualname__}", *shown)


def _shows(field: Any, values: Iterable[str], keys: Iterable[str]) -> bool:
    """Does a serializer's field show a column of the row, and nothing else?"""
    kind, source = type(field), field.source
    if kind is relations.PrimaryKeyRelatedField:
        return source in keys and (field.pk_field is None or type(field.pk_field) in _OF_VALUE)
    if kind is relations.HyperlinkedIdentityField:
        return field.lookup_field in values
    return source in values and (kind in _OF_VALUE or (kind in _OF_VALUES and type(field.child) in _OF_VALUE))

"""From what a project declares to columns: what a key is made of, and what is wrong with a declaration."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Field, GeneratedField, Model, UniqueConstraint
from django.db.models.expressions import Col
from django.db.models.sql.query import Query

from django_cacheaside.conf import nearest
from django_cacheaside.orm.columns import KINDS, base_field, is_keyed
from django_cacheaside.orm.index.declarations import Derived, KeyDeclaration, Listing, Unique
from django_cacheaside.orm.index.order import Direction, directions

MOST_ROWS = 10_000
"""The largest ``max_rows``: what is fetched at once."""


class KeyDeclarationError(ImproperlyConfigured):
    """A declaration in ``CacheAside.keys`` is wrong. ``hint`` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message} {hint}")
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class ResolvedKey:
    """A declaration, with the columns that it is made of.

    Args:
        name: Of the key space, behind the model's label: ``unique:slug``.
        fields: In the order declared. Those of ``Derived`` in the order of its template.
        tables: Those that have them, as statements name them: the model's own, or parents'.
        last_table: The model's own, into which a row comes when all its parents have theirs.
        links: Tables, with those of their columns that say which row of its parent a row belongs to.
        order: Of a listing, where it has one: its own, or the model's.
        sources: The columns by which the key's own may change: themselves, and those that generated ones are made of.
    """

    declaration: KeyDeclaration
    name: str
    fields: tuple[Field[Any, Any], ...]
    tables: frozenset[str]
    last_table: str
    links: frozenset[tuple[str, str]]
    order: tuple[Direction, ...]
    sources: frozenset[str]

    @property
    def table(self) -> str | None:
        """The table that has all columns; None if they are in several."""
        return next(iter(self.tables)) if len(self.tables) == 1 else None

    @property
    def kind(self) -> str:
        """``unique``, ``listing`` or ``derived``."""
        return self.declaration.kind

    @property
    def attnames(self) -> tuple[str, ...]:
        """The columns as instances name them."""
        return tuple(field.attname for field in self.fields)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns as the database names them."""
        return tuple(str(field.column) for field in self.fields)


def resolve(model: type[Model], declaration: KeyDeclaration, *, exclude: Collection[str] = ()) -> ResolvedKey:
    """What ``declaration`` means for ``model``.

    Args:
        exclude: The attnames that are kept out of the cache.

    Raises:
        KeyDeclarationError: ``serve`` is no bool; a field is unknown, of a kind that no key is made of, or kept out;
            ``Unique`` is not unique; ``Listing`` can't be sorted as it says.
    """
    where = f"{model._meta.label}.CacheAside: {declaration!r}"
    if not isinstance(declaration.serve, bool):
        raise KeyDeclarationError(
            f"{where} has serve={declaration.serve!r}.", "It is True, or False to void the key and not to serve it yet."
        )
    names = _template_names(declaration.template, where) if isinstance(declaration, Derived) else declaration.fields
    if not names and not isinstance(declaration, Derived):
        raise KeyDeclarationError(f"{where} names no field.", "Name the columns that rows are found by.")
    fields = tuple(_field(model, name, where) for name in names)
    attnames = tuple(field.attname for field in fields)
    if len(set(attnames)) < len(attnames):
        raise KeyDeclarationError(f"{where} names a field twice.", "Name each once.")
    for field in fields:
        _check_kind(field, where)
        if field.attname in exclude and not isinstance(declaration, Derived):
            raise KeyDeclarationError(
                f"{where} names {field.attname!r}, which is kept out of the cache by exclude.",
                "A hit is checked against the row: cache the column, or leave it out of keys.",
            )
    if isinstance(declaration, Unique):
        _check_unique(model, fields, where)
    name = f"{declaration.kind}:{_spelt(declaration, attnames)}"
    return ResolvedKey(
        declaration,
        name,
        fields,
        frozenset(table_name(field.model) for field in fields),
        table_name(model),
        frozenset(_links(model)),
        _order(model, declaration, where, exclude=exclude) if isinstance(declaration, Listing) else (),
        frozenset(source for field in fields for source in _sources(field)),
    )


def resolve_all(
    model: type[Model], declarations: Sequence[KeyDeclaration], *, exclude: Collection[str]
) -> Iterator[ResolvedKey | KeyDeclarationError]:
    """Each declaration of a model resolved, or what is wrong with it."""
    seen: set[str] = set()
    for declaration in declarations:
        found = _resolved_or_wrong(model, declaration, exclude)
        if isinstance(found, ResolvedKey):
            if found.name in seen:
                where = f"{model._meta.label}.CacheAside"
                found = KeyDeclarationError(f"{where}: {declaration!r} is declared twice.", "Keep one of them.")
            else:
                seen.add(found.name)
        yield found


def _resolved_or_wrong(
    model: type[Model], declaration: KeyDeclaration, exclude: Collection[str]
) -> ResolvedKey | KeyDeclarationError:
    try:
        return resolve(model, declaration, exclude=exclude)
    except KeyDeclarationError as error:
        return error


def table_name(model: type[Model]) -> str:
    """The model's table as statements name it: bare, where ``db_table`` itself is quoted or holds a schema.

    A schema ends at a dot between quotes, ``schema"."table``; any other dot is part of the name.
    """
    return re.split(r'["`]\.["`]', model._meta.db_table)[-1].strip('"`').lower()


def _links(model: type[Model]) -> Iterator[tuple[str, str]]:
    for field in model._meta.concrete_fields:
        if getattr(field.remote_field, "parent_link", False):
            yield table_name(field.model), str(field.column)


def _spelt(declaration: KeyDeclaration, attnames: Sequence[str]) -> str:
    return declaration.template if isinstance(declaration, Derived) else ",".join(attnames)


def _template_names(template: Any, where: str) -> tuple[str, ...]:
    try:
        parts = list(Formatter().parse(template))
    except (TypeError, ValueError) as error:
        hint = 'Write it as "dashboard:{category_id}".'
        raise KeyDeclarationError(f"{where} is no template: {error}.", hint) from error
    names: list[str] = []
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if form or conversion or not name.isidentifier():
            raise KeyDeclarationError(
                f"{where} has {{{name}}} with a format or an attribute.", "Name columns in braces, nothing else."
            )
        names.append(name)
    return tuple(dict.fromkeys(names))


def _sources(field: Any) -> Iterator[str]:
    yield str(field.column)
    if isinstance(field, GeneratedField):
        made_of = vars(field)["expression"].resolve_expression(Query(field.model, alias_cols=False), allow_joins=False)
        yield from _columns_in(made_of)


def _columns_in(expression: Any) -> Iterator[str]:
    if isinstance(expression, Col):
        yield str(expression.target.column)
    for part in expression.get_source_expressions() if hasattr(expression, "get_source_expressions") else ():
        yield from _columns_in(part)


def _field(model: type[Model], name: object, where: str) -> Field[Any, Any]:
    fields = model._meta.concrete_fields
    by_name = {name: field for field in fields for name in (field.attname, field.name)}
    if not isinstance(name, str) or name not in by_name:
        known = tuple(field.name for field in fields)
        raise KeyDeclarationError(f"{where} names {name!r}, no column of the model.", nearest(str(name), known))
    return by_name[name]


def _check_kind(field: Field[Any, Any], where: str) -> None:
    if not is_keyed(field):
        raise KeyDeclarationError(
            f"{where} names {field.name!r}, a {type(base_field(field)).__name__}: its values are no parts of keys.",
            f"Parts of keys are {KINDS}.",
        )


def _check_unique(model: type[Model], fields: Sequence[Field[Any, Any]], where: str) -> None:
    names = {field.name for field in fields}
    unique = list(_unique_sets(model))
    if not any(one <= names for one in unique):
        pks = [{field.name} for field in model._meta.concrete_fields if field.primary_key]
        there = sorted(", ".join(sorted(one)) for one in unique if one not in pks)
        raise KeyDeclarationError(
            f"{where} is not unique: the database lets two rows have the same values.",
            (f"Unique are: {'; '.join(there)}. " if there else "")
            + f"Give the field unique=True, the model a UniqueConstraint, or declare a "
            f"Listing({', '.join(repr(field.name) for field in fields)}).",
        )


def _unique_sets(model: type[Model]) -> Iterator[set[str]]:
    for one in (model, *model._meta.get_parent_list()):
        meta = one._meta
        yield from ({field.name} for field in meta.local_concrete_fields if field.unique)
        yield from (set(names) for names in meta.unique_together)
        for constraint in meta.constraints:
            if isinstance(constraint, UniqueConstraint) and constraint.fields and constraint.condition is None:
                yield set(constraint.fields)


def _order(model: type[Model], declaration: Listing, where: str, *, exclude: Collection[str]) -> tuple[Direction, ...]:
    rows = declaration.max_rows
    if isinstance(rows, bool) or not isinstance(rows, int) or not 1 <= rows <= MOST_ROWS:
        raise KeyDeclarationError(
            f"{where} has max_rows={rows!r}.", f"It takes the number of rows of its longest listing, 1 to {MOST_ROWS}."
        )
    if declaration.collation not in (None, "C"):
        hint = 'Rows are sorted in Python: say "C", by code points, or nothing.'
        raise KeyDeclarationError(f"{where} has collation={declaration.collation!r}.", hint)
    own = declaration.order_by
    if not isinstance(own, (list, tuple)):
        raise KeyDeclarationError(f"{where} has order_by={own!r}.", "It takes a field's name or a list of them.")
    by_bytes = declaration.collation == "C"
    found = directions(model, own or model._meta.ordering or (), exclude=exclude, by_bytes=by_bytes)
    if isinstance(found, list):
        return tuple(found)
    word, wrong = found
    known = tuple(field.attname for field in model._meta.concrete_fields)
    hint = nearest(word.lstrip("-+"), known) if wrong == "names no column" else "Sort by other columns, or not at all."
    said = "order_by" if own else "Meta.ordering, which holds where there is no order_by,"
    raise KeyDeclarationError(f"{where}: {word!r} in {said} {wrong}.", hint)

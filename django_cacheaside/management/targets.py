"""What a subcommand works on: the models that its labels name, and the database of each."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.management.base import CommandError, CommandParser
from django.db import connections, router

from django_cacheaside.orm.registry import Registration, registry


def add_target_arguments(parser: CommandParser) -> None:
    """``[app_label[.Model] …] [--database ALIAS]``."""
    parser.add_argument(
        "labels", metavar="app_label[.Model]", nargs="*", help="A cached model, or all those of an app."
    )
    parser.add_argument(
        "--database",
        metavar="ALIAS",
        choices=tuple(connections),
        help="The database of the rows. By default where the router sends each model's writes.",
    )


def named(labels: Iterable[str]) -> list[Registration]:
    """The cached models that the labels name, each once, in the order of the labels.

    Raises:
        CommandError: A label names none.
    """
    try:
        return list(dict.fromkeys(found for label in labels for found in registry.by_label(label)))
    except LookupError as error:
        raise CommandError(str(error)) from error


def database_of(registration: Registration, chosen: str | None) -> str:
    """The alias to work on: the chosen one, or the router's choice for writes."""
    return chosen or router.db_for_write(registration.model)

"""``manage.py cacheaside flush``: drop the values of whole models, in O(1) each, by their epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_cacheaside.management.targets import add_target_arguments, database_of, named
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import Registration, registry

HELP = "Drops the cached rows of models, and what is found by their declared keys: the next read of each loads it."

QUESTION = """This drops all cached rows of {count} models: every read goes to the database until they are filled again.
Are you sure you want to do this?

    Type 'yes' to continue, or 'no' to cancel: """


def add_arguments(parser: CommandParser) -> None:
    """The options of ``flush``."""
    add_target_arguments(parser)
    parser.add_argument("--all", action="store_true", help="All cached models. Asks first.")
    parser.add_argument(
        "--no-input", "--noinput", action="store_false", dest="interactive", help="Do not ask, with --all."
    )


def run(command: BaseCommand, options: Mapping[str, Any]) -> None:
    """Flush what the options name.

    Raises:
        CommandError: No model is named, or an unknown one.
        StoreUnavailableError: Nothing is sure to be dropped; the same command may be given again.
    """
    chosen = _chosen(options)
    if options["all"] and options["interactive"] and input(QUESTION.format(count=len(chosen))) != "yes":
        command.stdout.write("Flush cancelled.")
        return
    current = runtime.current()
    # past the invalidator, which would keep for later what the server does not take
    places = (current.place(one, connections[database_of(one, options["database"])]) for one in chosen)
    current.store.flush(space for place in places for space in place.spaces)
    if options["verbosity"]:
        command.stdout.write(f"Flushed {len(chosen)} model{'' if len(chosen) == 1 else 's'}.")


def _chosen(options: Mapping[str, Any]) -> list[Registration]:
    if options["all"] == bool(options["labels"]):
        raise CommandError("Name the models to flush, or --all of them.")
    return list(registry) if options["all"] else named(options["labels"])

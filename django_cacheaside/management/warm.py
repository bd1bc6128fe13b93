"""``manage.py cacheaside warm``: fill the rows that are not cached, as a reader that misses them would.

Only primary keys are listed beforehand. Each chunk then goes the whole way of a read, lease before SELECT before fill:
a row written meanwhile is not filled with what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_cacheaside.clock import Clock, SystemClock
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.management.progress import Progress
from django_cacheaside.management.targets import add_target_arguments, database_of, named
from django_cacheaside.management.warming import Warming
from django_cacheaside.orm import runtime
from django_cacheaside.orm.databases import may_serve
from django_cacheaside.orm.registry import Registration

HELP = "Fills the cached rows of models. Rows that are cached already are not loaded again. Ctrl-C says how to go on."


def add_arguments(parser: CommandParser) -> None:
    """The options of ``warm``."""
    add_target_arguments(parser)
    parser.add_argument("--chunk-size", type=int, default=1000, metavar="N", help="Rows per SELECT and fill: 1000.")
    parser.add_argument("--rate", type=float, metavar="ROWS_PER_S", help="Go no faster than this.")
    parser.add_argument("--limit", type=int, metavar="N", help="Stop after this many rows of each model.")
    parser.add_argument("--after", metavar="PK", help="Begin behind this primary key. One model only.")
    parser.add_argument("--dry-run", action="store_true", help="Only count what would be filled.")


def run(command: BaseCommand, options: Mapping[str, Any]) -> None:
    """Warm what the options name.

    Raises:
        CommandError: An option is wrong, or nothing that it names can be cached.
        StoreUnavailableError: The server stopped answering. What was filled stays.
        KeyboardInterrupt: The chunk under way is given up.
    """
    for name in ("chunk_size", "rate", "limit"):
        if options[name] is not None and options[name] <= 0:
            raise CommandError(f"--{name.replace('_', '-')} must be more than 0.")
    if not options["labels"]:
        raise CommandError("Name the models to warm.")
    chosen = named(options["labels"])
    if options["after"] is not None and len(chosen) > 1:
        raise CommandError("--after is the primary key of one model: name one.")
    left = [warming for one in chosen if (warming := _warming(command, one, options)) is not None]
    if not left:
        raise CommandError("Nothing to warm.")
    runtime.current().store.info("server")  # is it there? before anything is counted
    try:
        while left:
            _warm(command, left[0], options)
            left.pop(0)
    except (KeyboardInterrupt, StoreUnavailableError):
        _say_how_to_go_on(command, left, options["database"])
        raise


def _warming(command: BaseCommand, registration: Registration, options: Mapping[str, Any]) -> Warming | None:
    """The work on one model; None, and a line that says why, if its rows are not cached."""
    model, label = registration.model, registration.model._meta.label
    alias = database_of(registration, options["database"])
    if not may_serve(alias, model):
        raise CommandError(f"{alias!r} may be a replica: {label} is cached from the database that it is written to.")
    current = runtime.current()
    source = current.place(registration, connections[alias]).source
    if source is None:
        kind = type(model._meta.pk).__name__
        command.stderr.write(f"{label}: primary keys of this kind ({kind}, in {alias!r}) are not cached.")
        return None
    try:
        after = None if options["after"] is None else model._meta.pk.to_python(options["after"])
    except ValidationError as error:
        raise CommandError(f"--after: {' '.join(error.messages)}") from error
    return Warming(
        current, source, registration.model, after=after, limit=options["limit"], is_dry_run=options["dry_run"]
    )


def _warm(command: BaseCommand, warming: Warming, options: Mapping[str, Any]) -> None:
    """All chunks of one model, with their progress and at their pace."""
    clock = SystemClock()
    begun_s = clock.monotonic_s()
    progress = None
    if options["verbosity"]:
        progress = Progress(command.stdout, clock, label=warming.label, total=warming.total())
    rate: float | None = options["rate"]
    # with a rate, a chunk is a second's worth at most: the load is spread, not only its average
    chunk_rows = options["chunk_size"] if rate is None else max(1, min(options["chunk_size"], int(rate)))
    try:
        while warming.warm_chunk(chunk_rows):
            if progress:
                progress.show(warming.rows)
            if rate is not None:
                _keep_pace(clock, due_s=begun_s + warming.rows / rate)
    finally:
        if progress:
            progress.end()
    if options["verbosity"]:
        command.stdout.write(warming.summary(elapsed_s=clock.monotonic_s() - begun_s))


def _keep_pace(clock: Clock, *, due_s: float) -> None:
    early_s = due_s - clock.monotonic_s()
    if early_s > 0:
        clock.sleep_s(early_s)


def _say_how_to_go_on(command: BaseCommand, left: Sequence[Warming], database: str | None) -> None:
    where = f" --database={database}" if database else ""
    for warming in left[:1]:
        after = "" if warming.last is None else f" --after={quote(str(warming.last))}"
        command.stderr.write(f"To go on: manage.py cacheaside warm {warming.label}{where}{after}")
    if left[1:]:
        command.stderr.write(f"and then: manage.py cacheaside warm {' '.join(one.label for one in left[1:])}{where}")

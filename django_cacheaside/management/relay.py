"""``manage.py cacheaside relay``: deliver the journal, once or again and again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections, router

from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.orm import runtime
from django_cacheaside.orm.databases import is_private
from django_cacheaside.orm.journal.poller import deliver
from django_cacheaside.orm.journal.relay import JournalRelay
from django_cacheaside.orm.registry import registry

HELP = (
    "Delivers the journal: writes of which the cache server could not be told. The processes of a project do it by "
    "themselves, unless RELAY_INTERVAL is None."
)


def add_arguments(parser: CommandParser) -> None:
    """The options of ``relay``."""
    parser.add_argument(
        "--database",
        metavar="ALIAS",
        choices=tuple(connections),
        help="The database whose journal it is. By default each to which the router sends writes of a cached model.",
    )
    parser.add_argument("--once", action="store_true", help="Deliver what is there, and end.")
    parser.add_argument("--interval", type=float, metavar="SECONDS", default=1.0, help="Between two looks. Default: 1.")


def run(command: BaseCommand, options: Mapping[str, Any]) -> None:
    """Deliver until SIGTERM or Ctrl-C, which end it after the batch that is under way.

    Raises:
        CommandError: The interval is no time, or with ``--once`` a journal can't be read.
        StoreUnavailableError: With ``--once``, the server does not answer.
    """
    if not 0.05 <= options["interval"] <= 3600:
        raise CommandError("--interval must be between 0.05 and 3600 seconds.")
    relays = _relays(options["database"])
    end = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: end.set())
    try:
        while not end.is_set():
            delivered = sum(_deliver(command, relay, end, is_only_look=options["once"]) for relay in relays)
            if options["verbosity"] > 1 or (options["verbosity"] and (delivered or options["once"])):
                command.stdout.write(f"Delivered {delivered} journal entr{'y' if delivered == 1 else 'ies'}.")
            if options["once"] or end.wait(options["interval"]):
                break
    finally:
        signal.signal(signal.SIGTERM, previous)


def _relays(chosen: str | None) -> list[JournalRelay]:
    aliases = [chosen] if chosen else dict.fromkeys(router.db_for_write(one.model) for one in registry)
    return [runtime.current().relay_of(alias) for alias in aliases if not is_private(connections[alias])]


def _deliver(command: BaseCommand, relay: JournalRelay, end: threading.Event, *, is_only_look: bool) -> int:
    try:
        delivered = deliver(relay, goes_on=lambda: not end.is_set())
        relay.clean()
    except DatabaseError as error:
        if is_only_look:
            raise CommandError(f"The journal of {relay.alias!r} can't be read: {error}") from error
        command.stderr.write(f"The journal of {relay.alias!r} can't be read: {error}")
        connections[relay.alias].close()
        return 0
    except StoreUnavailableError as error:
        if is_only_look:
            raise
        command.stderr.write(f"The cache server does not answer: {error}")
        return 0
    return delivered

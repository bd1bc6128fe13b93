"""``manage.py cacheaside stats``: what all processes have counted, the server's memory, the hot keys; once or again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_cacheaside.clock import SystemClock
from django_cacheaside.management.stats_report import Report, as_json, make_report
from django_cacheaside.management.stats_text import text_of
from django_cacheaside.management.targets import named
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.published import HOURS_KEPT

HELP = (
    "Shows what the cache has done, in all processes: hits and misses, times, memory, hot keys. Processes tell what "
    "they have counted every ten seconds or so; it is kept for a day."
)

REPAINT = "\x1b[H\x1b[J"


def add_arguments(parser: CommandParser) -> None:
    """The options of ``stats``."""
    parser.add_argument(
        "labels", metavar="app_label[.Model]", nargs="*", help="A cached model, or all those of an app. Default: all."
    )
    parser.add_argument("--json", action="store_true", dest="as_json", help="For programs: one JSON object on a line.")
    parser.add_argument(
        "--hours",
        type=int,
        default=HOURS_KEPT,
        metavar="N",
        help=f"Count this hour and those before it, N together, up to {HOURS_KEPT}: the default.",
    )
    parser.add_argument(
        "--watch", nargs="?", type=float, const=2.0, metavar="SECONDS", help="Show it again and again, each 2 s."
    )
    parser.add_argument("--count", type=int, metavar="N", help="With --watch: end after so many times.")


def run(command: BaseCommand, options: Mapping[str, Any]) -> None:
    """Show it once, or until Ctrl-C, which is no failure.

    Raises:
        CommandError: An option is wrong, a label names nothing; or, without ``--watch``, the server does not answer:
            then what is known without it has been shown.
    """
    if not 1 <= options["hours"] <= HOURS_KEPT:
        raise CommandError(f"--hours must be between 1 and {HOURS_KEPT}.")
    pause_s, left = options["watch"], options["count"]
    if pause_s is not None and not 0.1 <= pause_s <= 3600:
        raise CommandError("--watch must be between 0.1 and 3600 seconds.")
    if left is not None and (pause_s is None or left <= 0):
        raise CommandError("--count is how often --watch shows it: more than 0.")
    chosen = named(options["labels"]) if options["labels"] else list(registry)
    if pause_s is None:
        report = make_report(chosen, hours=options["hours"])
        _show(command, report, options, is_repaint=False)
        if report.failure is not None:
            raise CommandError(f"The cache server does not answer: {report.failure}")
        return
    clock = SystemClock()
    left = math.inf if left is None else left
    try:
        while True:
            _show(command, make_report(chosen, hours=options["hours"]), options, is_repaint=True)
            left -= 1
            if left <= 0:
                return
            clock.sleep_s(pause_s)
    except KeyboardInterrupt:
        return


def _show(command: BaseCommand, report: Report, options: Mapping[str, Any], *, is_repaint: bool) -> None:
    out = command.stdout
    if options["as_json"]:
        out.write(json.dumps(as_json(report)))
    elif is_repaint and out.isatty():
        out.write(REPAINT + text_of(report))
    else:
        out.write(text_of(report))
    out.flush()

"""``manage.py cacheaside warm|flush|relay|stats …``."""

from __future__ import annotations

from argparse import SUPPRESS
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.management import flush, relay, stats, warm

SUBCOMMANDS = {"warm": warm, "flush": flush, "relay": relay, "stats": stats}

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended: 128 + SIGINT."""


class Command(BaseCommand):
    help = "Works on the cached rows of models. Unlike a request, it fails if the cache server does not answer."

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
        for name, module in SUBCOMMANDS.items():
            subparser = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
            module.add_arguments(subparser)
            _add_base_options(subparser)

    def handle(self, *_: Any, subcommand: str, **options: Any) -> None:
        try:
            SUBCOMMANDS[subcommand].run(self, options)
        except StoreUnavailableError as error:
            raise CommandError(f"The cache server does not answer: {error}") from error
        except KeyboardInterrupt:
            raise CommandError("Stopped.", returncode=INTERRUPTED) from None


def _add_base_options(parser: CommandParser) -> None:
    """Take Django's own options behind the subcommand as well, where everybody types them."""
    parser.add_argument("-v", "--verbosity", type=int, choices=range(4), default=SUPPRESS, help=SUPPRESS)
    for option in ("--settings", "--pythonpath"):
        parser.add_argument(option, default=SUPPRESS, help=SUPPRESS)
    for flag in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
        parser.add_argument(flag, action="store_true", default=SUPPRESS, help=SUPPRESS)

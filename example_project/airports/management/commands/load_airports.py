"""``manage.py load_airports``."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from airports.load import load_airports


class Command(BaseCommand):
    """Create the tables of the example and fill them."""

    help = "Migrate the database, and load the world's 28,000 airports from the package airportsdata."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--airports", type=int, help="how many at most (default: all)")

    def handle(self, *, airports: int | None, **_: Any) -> None:
        call_command("migrate", verbosity=0)
        self.stdout.write(self.style.SUCCESS(f"{load_airports(airports):,} airports loaded."))

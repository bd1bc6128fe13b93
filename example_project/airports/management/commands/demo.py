"""``manage.py demo``."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from airports.demo.crew import CrewError
from airports.demo.plan import Plan
from airports.demo.report import Progress, in_words, table
from airports.demo.run import Outcome, run
from airports.load import load_airports
from airports.models import Airport


class Command(BaseCommand):
    """Readers and writers on the same popular rows, and a judge."""

    help = (
        "Read and write the same popular airports from several processes, without the cache and with it, and count "
        "the stale reads: those that began after a commit and did not see it. Exits with 1 if there is one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seconds", type=float, default=8, help="how long each run takes (default: 8)")
        parser.add_argument("--airports", type=int, help="how many rows at most (default: all 28,000)")
        parser.add_argument("--readers", type=int, default=4, help="processes that read (default: 4)")
        parser.add_argument("--writers", type=int, default=2, help="processes that write (default: 2)")
        parser.add_argument(
            "--writes",
            type=float,
            default=25,
            dest="writes_per_s",
            metavar="WRITES",
            help="of each writer, per second (default: 25)",
        )
        parser.add_argument("--seed", type=int, default=1, help="which rows are read and written (default: 1)")
        parser.add_argument(
            "--without-commit-work",
            action="store_true",
            help="let the writers tell the cache nothing, to see that the judge finds stale reads: exits with 1 if not",
        )

    def handle(
        self,
        *,
        airports: int | None,
        seconds: float,
        readers: int,
        writers: int,
        writes_per_s: float,
        seed: int,
        without_commit_work: bool,
        **_: Any,
    ) -> None:
        call_command("migrate", verbosity=0)
        self.stdout.write(
            f"{load_airports(airports):,} airports in SQLite. {readers} processes read and {writers} write, the "
            "popular rows most. The cache is warm."
        )
        pks = list(Airport.objects.order_by("pk").values_list("pk", flat=True))
        Random(seed).shuffle(pks)
        modes = {"without the cache": (False, False), "with the cache": (True, True)}
        if without_commit_work:
            modes = {"without commit work": (True, False)}
        outcomes = []
        with TemporaryDirectory(prefix="history-", dir=Path(connection.settings_dict["NAME"]).parent) as directory:
            for title, (is_cached, has_commit_work) in modes.items():
                plan = Plan(
                    title=title,
                    pks=pks,
                    seed=seed,
                    seconds=seconds,
                    readers=readers,
                    writers=writers,
                    writes_per_s=writes_per_s,
                    is_cached=is_cached,
                    has_commit_work=has_commit_work,
                    directory=Path(directory, title),
                )
                outcomes.append(self._run(plan))
        self.stdout.write(f"\n{table(outcomes)}\n\n")
        for outcome in outcomes:
            if outcome.verdict.first:
                self.stdout.write(in_words(outcome.verdict.first))
        self._conclude(sum(outcome.verdict.stale for outcome in outcomes), is_expected=without_commit_work)

    def _run(self, plan: Plan) -> Outcome:
        Airport.objects.update(version=0)
        progress = Progress(self.stdout, plan.title, plan.seconds)
        try:
            return run(plan, progress)
        except CrewError as error:
            raise CommandError(str(error)) from None
        finally:
            progress.end()

    def _conclude(self, stale: int, *, is_expected: bool) -> None:
        if is_expected and not stale:
            raise CommandError("Nobody told the cache of the writes, and yet no stale read was found.")
        if stale and not is_expected:
            raise CommandError(f"{stale:,} stale reads.")
        verdict = "The judge sees stale reads." if stale else "No read saw a row older than the newest commit."
        self.stdout.write(self.style.SUCCESS(verdict))

"""The command: readers, writers and faults for so long, and what the readers saw.

    python -m tests.soak --seconds 60 --seed 1
    python -m tests.soak --without-cache            control: no old row is read
    python -m tests.soak --without-commit-work      control: some are

Exit codes: 0, nothing beyond the bounds of the guarantee table; 1, something; 3, it did not end in time. The control
without commit work thus exits with 1 if the checker sees, with 0 if it is blind.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from contextlib import ExitStack

from tests.soak.ground import set_up

OVERTIME_S = 90.0
"""How long start, end and verdict may take together, in seconds, on a busy machine."""

CALM_S = (0.3, 1.2)
"""Between two faults, in seconds."""


def main(arguments: list[str] | None = None) -> int:
    """Run the soak and print its table."""
    asked = _parser().parse_args(arguments)
    _end_after(asked.seconds + OVERTIME_S)
    with ExitStack() as stack:
        valkey = set_up(stack)
        from tests.soak.fleet import SOLE_GUARD  # has models: needs the settings
        from tests.soak.run import run

        lose = SOLE_GUARD if asked.without_commit_work else None
        rng = random.Random(asked.seed)
        outcome = run(
            stack, valkey, rng, seconds=asked.seconds, calm_s=CALM_S, is_cached=not asked.without_cache, lose=lose
        )
    from tests.soak.report import report

    sys.stdout.write(report(outcome, title=_title(asked, outcome.seconds), must_fail=asked.without_commit_work))
    return 0 if outcome.is_well else 1


def _title(asked: argparse.Namespace, lasted_s: float) -> str:
    control = " without cache" if asked.without_cache else " without commit work" if asked.without_commit_work else ""
    return f"soak{control}: {lasted_s:.0f} s, seed {asked.seed}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=60.0, help="how long everybody is at work, 60 if not given")
    parser.add_argument("--seed", type=int, default=1, help="of the faults, the reads and the writes")
    control = parser.add_mutually_exclusive_group()
    control.add_argument("--without-cache", action="store_true", help="control: ENABLED is False")
    control.add_argument(
        "--without-commit-work", action="store_true", help="control: nothing around a COMMIT; exits with 1"
    )
    return parser


def _end_after(seconds: float) -> None:
    """Whatever happens: the servers and all processes end with this one."""

    def end() -> None:
        sys.stderr.write(f"soak: not over after {seconds:g} s, given up\n")
        sys.stderr.flush()
        os._exit(3)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    began_s = time.monotonic()
    status = main()
    sys.stdout.write(f"{time.monotonic() - began_s:.0f} s in all\n")
    sys.exit(status)

"""The command: servers up, subjects measured, table printed."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

from benchmarks.measure import Effort, stay_on_one_processor
from benchmarks.report import Figure, as_json, surroundings, table
from benchmarks.servers import configure, servers

SUBJECTS = ("hit", "near", "batch", "keys", "miss", "write", "net", "mixed", "stampede", "memory", "outage", "startup")


def main(arguments: list[str] | None = None) -> None:
    """Measure what was asked for. A target that is missed is printed, not an error: the machine may be busy."""
    asked = _parser().parse_args(arguments)
    effort = Effort(rounds=asked.rounds, seed=asked.seed, is_quick=asked.quick)
    figures: list[Figure] = []
    if not asked.quick:
        stay_on_one_processor()
    with ExitStack() as running:
        where = running.enter_context(servers())
        configure(where)
        ground = import_module("benchmarks.ground").prepare(where, seed=asked.seed)  # has models: needs the settings
        about = surroundings(where, effort)
        print(about, end="\n\n", flush=True)
        for name in SUBJECTS:
            if name in asked.subjects or "all" in asked.subjects:
                measured = import_module(f"benchmarks.subjects.{name}").figures(ground, effort)
                print(table(name, measured), end="\n\n", flush=True)
                figures += measured
        ground.close()
    if asked.json:
        asked.json.write_text(as_json(about, effort, figures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = (*SUBJECTS, "all")
    parser.add_argument("subjects", nargs="*", choices=names, default="all", metavar="subject", help=", ".join(names))
    parser.add_argument("--rounds", type=_at_least_one, default=30, help="rounds of each subject, 30 if not given")
    parser.add_argument("--seed", type=int, default=1, help="of the rows and of the choice among them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--quick", action="store_true", help="a fiftieth of the work: does it run? The figures mean nothing"
    )
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is no number of rounds: at least 1")
    return number


if __name__ == "__main__":
    main()

"""Bytes that a coverage-guided fuzzer makes, for everything that reads bytes from Redis: ``python -m tests.fuzz``.

Nothing but ``UndecodableEntryError`` (of the journal ``UnreadableEntryError``) may come of them, no row of another
primary key, and nothing may be executed. Options are libFuzzer's: ``-runs=1000000``, ``-max_total_time=60``.

What can happen at all is told by ``tests/fuzz/targets.py``; each target sees all inputs.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["django_cacheaside"]):
    from tests.fuzz.targets import TARGETS

DEFAULTS = ["-runs=300000", "-max_len=600", "-timeout=5", "-seed=1"]


def one_input(data: bytes) -> None:
    """Give the bytes to every target."""
    for target in TARGETS:
        target(data)


if __name__ == "__main__":
    given = {option.partition("=")[0] for option in sys.argv[1:]}
    defaults = [option for option in DEFAULTS if option.partition("=")[0] not in given]
    if "-max_total_time" in given:
        defaults = [option for option in defaults if not option.startswith("-runs")]
    atheris.Setup([sys.argv[0], *defaults, *sys.argv[1:]], one_input)
    atheris.Fuzz()

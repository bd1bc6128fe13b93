"""The demo, as a person runs it, and its judge."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from example_project.airports.demo.history import FACTS_IN_MEMORY, Recorder, recorded
from example_project.airports.demo.judge import Read, Stale, Verdict, Write, judge
from tests.fronts.example import example_environment

SMALL = ("--seconds", "1", "--airports", "2000", "--readers", "2")


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``manage.py demo`` on servers that it brings along."""
    command = [sys.executable, "example_project/manage.py", "demo", *SMALL, *arguments]
    environment = example_environment(CACHEASIDE_REDIS_URL=None)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def figure(printed: str, label: str) -> list[str]:
    """What a line of the table says, a figure per run."""
    (line,) = re.findall(rf"^{label} {{2,}}(.*)$", printed, re.MULTILINE)
    return line.split()


class TestDemo:
    def test_finds_no_stale_read_and_most_rows_in_the_cache(self):
        done = demo()
        assert (done.returncode, done.stderr) == (0, ""), done
        assert figure(done.stdout, "stale reads") == ["0", "0"]
        without, with_cache = (float(part.rstrip("%")) for part in figure(done.stdout, "rows from the cache"))
        assert without == 0
        assert with_cache > 50
        assert int(figure(done.stdout, "bytes in the cache")[1].replace(",", "")) > 100 * 2000

    def test_finds_stale_reads_where_writers_tell_the_cache_nothing(self):
        """Otherwise a finding of none would mean nothing."""
        done = demo("--without-commit-work")
        assert (done.returncode, done.stderr) == (0, ""), done
        (stale,) = figure(done.stdout, "stale reads")
        assert int(stale.replace(",", "")) > 0
        assert "had been committed" in done.stdout

    def test_says_what_failed(self):
        """A process that fails ends the others, and the demo."""
        done = demo("--airports", "50", "--readers", "0", "--writes", "0")
        assert done.returncode == 1
        assert "ZeroDivisionError" in done.stderr
        assert done.stderr.endswith("CommandError: One of the demo's processes failed.\n")


class TestJudge:
    @pytest.mark.parametrize(
        ("read", "is_stale"),
        [
            pytest.param(Read(1, 1, 101), True, id="began-after-the-commit-and-saw-the-version-before"),
            pytest.param(Read(1, 1, 100), False, id="began-with-the-acknowledgement"),
            pytest.param(Read(1, 1, 99), False, id="began-before-the-acknowledgement"),
            pytest.param(Read(1, 2, 101), False, id="saw-the-commit"),
            pytest.param(Read(1, 2, 60), False, id="saw-the-commit-before-its-acknowledgement"),
            pytest.param(Read(1, 3, 101), False, id="saw-a-later-commit"),
            pytest.param(Read(1, 0, 51), True, id="missed-an-earlier-commit"),
            pytest.param(Read(1, 0, 50), False, id="began-before-all-commits"),
            pytest.param(Read(2, 0, 999), False, id="another-row"),
        ],
    )
    def test_holds_a_read_against_the_commits_acknowledged_before_it(self, read, is_stale):
        writes = [Write(1, 2, 100), Write(1, 1, 50)]
        assert judge(writes, [read]).stale == is_stale

    def test_takes_the_newest_version_not_the_last_acknowledged(self):
        writes = [Write(1, 3, 100), Write(1, 2, 110)]
        assert judge(writes, [Read(1, 2, 120)]).first == Stale(Read(1, 2, 120), Write(1, 3, 100))

    def test_counts_all_and_shows_the_first(self):
        reads = [Read(1, 1, 200), Read(1, 0, 201), Read(1, 0, 202)]
        assert judge([Write(1, 1, 100)], iter(reads)) == Verdict(3, 2, Stale(reads[1], Write(1, 1, 100)))

    def test_of_nothing(self):
        assert judge([], []) == Verdict(0, 0, None)


class TestHistory:
    @pytest.mark.parametrize("facts", [0, 1, 2 * FACTS_IN_MEMORY + 1])
    def test_comes_back_as_it_was_recorded(self, tmp_path: Path, facts):
        with Recorder(tmp_path / "history") as history:
            for at in range(facts):
                history.add(at, -at, 2**62 + at)
        assert list(recorded(tmp_path / "history")) == [(at, -at, 2**62 + at) for at in range(facts)]

"""The benchmarks run, and say what each subject is. Not how fast: that is for a quiet machine to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SUBJECTS = ("hit", "near", "batch", "keys", "miss", "write", "net", "mixed", "stampede", "memory", "outage", "startup")
ROUND_TRIPS = {"hit": {1}, "near": {0}, "batch": {1}, "keys": {2}, "miss": {3}, "write": {2}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One quick run of all subjects: what it printed, and its figures."""
    to = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "all", "--rounds", "1", "--quick", "--json", str(to)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(to.read_text())["figures"]


class TestCommand:
    @pytest.mark.parametrize("subject", SUBJECTS)
    def test_prints_every_figure_that_it_writes(self, run, subject):
        printed, figures = run
        names = [figure["name"] for figure in figures if figure["subject"] == subject]
        assert names
        assert f"\n{subject} " in printed
        assert [name for name in names if name not in printed] == []

    @pytest.mark.parametrize("subject", ROUND_TRIPS)
    def test_counts_the_round_trips_that_the_protocol_promises(self, run, subject):
        """A count, unlike a time, is the same on every machine."""
        _, figures = run
        assert {figure["count"] for figure in figures if figure["subject"] == subject} - {None} == ROUND_TRIPS[subject]

    @pytest.mark.parametrize(
        "promised",
        [
            "loads of one row, 1 process",
            "loads of one row, 8 processes",
            "hung: exc",
            "killed: exc",
            "used_memory a row",
        ],
    )
    def test_keeps_what_no_busy_machine_can_excuse(self, run, promised):
        """Loads, exceptions and bytes: these are counts too."""
        _, figures = run
        found = [figure["is_met"] for figure in figures if figure["name"].startswith(promised)]
        assert found
        assert all(found)

    def test_refuses_what_is_no_subject(self):
        command = [sys.executable, "-m", "benchmarks", "speed"]
        done = subprocess.run(
            command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 2
        assert "hit" in done.stderr

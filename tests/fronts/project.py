"""A user's project in a directory of its own: its tests are run by a pytest that knows nothing of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SETTINGS = """
from tests.settings import *
DATABASES["default"]["NAME"] = "shop_{worker}"
DATABASES["sqlite"] = {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""


def run_pytest(directory: Path, *options: str) -> str:
    """Run the tests in ``directory`` on the servers of this run; return what pytest printed."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    (directory / "project_settings.py").write_text(SETTINGS.format(worker=worker))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = f"{directory}:{ROOT}"
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", directory),
            *("--ds", "project_settings", "--create-db", "-p", "no:valkey", *options, directory),
        ],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr

"""The tests' settings for a process that runs the release ``CACHEASIDE_TEST_RELEASE``."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.released"]
CACHEASIDE = {"CACHE": "default", "CONNECT_TIMEOUT": 10, "TIMEOUT": 10}  # hits are counted, on machines however busy

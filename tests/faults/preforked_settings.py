"""The tests' settings for a site under a WSGI server: its own process tree, the test run's database and a Valkey."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["default"]["NAME"] = os.environ["CACHEASIDE_TEST_DATABASE"]
DATABASES["default"]["CONN_MAX_AGE"] = None  # workers keep their connections, as sites do

ALLOWED_HOSTS = ["*"]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "tests.faults.preforked"

"""The tests' settings for a process whose keys are made by ``CACHEASIDE_TEST_PREFIX``, and are soon forgotten."""

from __future__ import annotations

import os

from django_cacheaside.engine import agreement
from tests.settings import *  # noqa: F403
from tests.settings import CACHES as _CACHES

CACHES = {"default": {**_CACHES["default"], "KEY_PREFIX": os.environ["CACHEASIDE_TEST_PREFIX"]}}
CACHEASIDE = {"CACHE": "default", "INTENT": 1}

# half of what they are: all that is promised holds for any
agreement.NOTICE_S, agreement.EARLY_S = 0.5, 0.25

"""How the tests run the example project: in processes of its own, for it has settings of its own."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]


def example_environment(**changes: str | None) -> dict[str, str]:
    """The environment for ``example_project/manage.py``, run from the checkout; None takes a variable away."""
    wanted = {**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": None, **changes}
    return {name: value for name, value in wanted.items() if value is not None}

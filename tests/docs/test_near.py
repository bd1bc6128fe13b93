"""The code of docs/near.md runs, and its defaults are the code's."""

from __future__ import annotations

import re
from typing import Any

from django.db import models
from django.test.utils import isolate_apps

from django_cacheaside import Near
from django_cacheaside.engine.near.cache import MOST_SPACES
from django_cacheaside.engine.near.shelf import ENTRY_OVERHEAD
from django_cacheaside.orm.net.wrapper import forget_plans
from django_cacheaside.orm.registry import registry
from tests.docs.test_documents import ROOT, blocks

DOCUMENT = ROOT / "docs" / "near.md"


class TestNear:
    def test_its_model_is_valid(self) -> None:
        names: dict[str, Any] = {"__name__": "tests.app.near"}
        with isolate_apps("tests.app"):
            exec(blocks(DOCUMENT)[0], names)
            plan: type[models.Model] = names["Plan"]
            near = registry.for_model(plan).options.near
        assert near is not None
        assert (near.max_bytes, near.max_staleness_s) == (4_000_000, 0.5)
        registry.remove(plan)
        forget_plans()

    def test_its_figures_are_the_codes(self) -> None:
        text = DOCUMENT.read_text("utf-8")
        documented = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", text, re.MULTILINE))
        assert documented == {"max_bytes": f"{Near().max_bytes:,}", "max_staleness": f"{Near().max_staleness:g}"}
        assert f"After {MOST_SPACES} of them" in text
        assert f"and {ENTRY_OVERHEAD} bytes" in text

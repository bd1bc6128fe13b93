"""``docs/statistics.md`` names what ``stats --json`` says, and nothing else."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from django_cacheaside.engine.breaker import State
from tests.app.models import Product

TEXT = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text("utf-8")


def table(heading: str) -> dict[str, str]:
    """Rows of the table behind a line: names of the first column, each with the rest of its row."""
    rows = re.findall(
        r"^\| (`[^|]+) \|(.*)\|$", TEXT.partition(heading)[2].partition("\n\n|")[2].partition("\n\n")[0], re.M
    )
    return {name: rest for names, rest in rows for name in re.findall(r"`(\w+)`", names)}


@pytest.mark.usefixtures("commits")
class TestJson:
    def test_its_names_are_documented(self) -> None:
        Product.cached.in_bulk([1])
        out = StringIO()
        call_command("cacheaside", "stats", "--json", stdout=out)
        said = json.loads(out.getvalue())
        model, whole, each = said["models"]["app.Product"], table("## JSON"), table("Of each model:")
        assert whole.keys() == said.keys()
        assert each.keys() == model.keys()
        assert table("An entry of a declared key that proves").keys() == model["bypasses"].keys()
        for name, parts in [
            ("hot_keys", said["hot_keys"][0]),
            ("server", said["server"]),
            ("circuit", said["circuit"]),
        ]:
            assert set(re.findall(r"`([a-z_]+)`", whole[name])) - {state.value for state in State} == parts.keys()
        assert set(re.findall(r"`(\w+)`", whole["journal"])) == said["journal"]["default"].keys()
        for name in ("hit_us", "load_us"):
            assert set(re.findall(r"`(\w+)`", each[name])) == model[name].keys()
        assert set(re.findall(r"`(\w+)`", each["memory"])) == model["memory"].keys()

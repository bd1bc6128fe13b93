"""``docs/testing.md``: its code is a small project's tests, and is run as one."""

from __future__ import annotations

import re
from pathlib import Path

from django_cacheaside import testing
from tests.docs.test_documents import ROOT, blocks
from tests.fronts.project import run_pytest

DOCUMENT = ROOT / "docs" / "testing.md"


class TestDocument:
    def test_its_code_runs(self, tmp_path: Path) -> None:
        written = []
        for block in blocks(DOCUMENT):
            name = block.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(block.replace("shop.models", "tests.app.models"))
            written.append(name)
        assert written == ["test_prices.py", "conftest.py", "test_with_pytest.py", "test_races.py"]
        done = run_pytest(tmp_path)
        assert "5 passed" in done, done

    def test_every_failpoint_is_documented(self) -> None:
        documented = dict(re.findall(r"^\| `([a-z]+-[a-z]+)` \| (.+) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE))
        assert documented == dict(testing.FAILPOINTS)

    def test_every_name_is_documented(self) -> None:
        text = DOCUMENT.read_text("utf-8")
        assert [name for name in testing.__all__ if name not in text] == []

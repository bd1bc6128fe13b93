"""Modules imported at their first use."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Thread

import pytest

from django_cacheaside.later import is_imported, later

started: list[Thread] = []
"""For a module to start while it is imported."""


class TestLater:
    def test_imports_at_the_first_use(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "used_later.py").write_text("count = 0\ndef add():\n    global count\n    count += 1\n")
        monkeypatch.syspath_prepend(tmp_path)
        module = later("used_later")
        assert not is_imported(module)
        module.add()
        module.add()
        assert is_imported(module)
        assert module.count == sys.modules.pop("used_later").count == 2  # the same names, not copies of them

    def test_a_failed_import_is_tried_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        module = later("made_later")
        with pytest.raises(ModuleNotFoundError):
            _ = module.answer
        (tmp_path / "made_later.py").write_text("answer = 42\n")
        monkeypatch.syspath_prepend(tmp_path)
        assert module.answer == 42
        with pytest.raises(AttributeError):
            _ = module.question
        del sys.modules["made_later"]

    def test_one_import_at_a_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two threads that enter a package by different modules would find each other half-way."""
        (tmp_path / "quick_one.py").write_text("answer = 42\n")
        (tmp_path / "slow_one.py").write_text(
            "from tests.unit.test_later import started\n"
            "started[0].start()\n"
            "started[0].join(0.3)\n"
            "was_waiting = started[0].is_alive()\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        slow, quick = later("slow_one"), later("quick_one")
        started.append(Thread(target=lambda: quick.answer))
        try:
            assert slow.was_waiting
            started[0].join()
            assert is_imported(quick)
        finally:
            for name in ("slow_one", "quick_one"):
                sys.modules.pop(name, None)
            started.clear()

"""The thread that probes: that it begins, goes on, and ends."""

from __future__ import annotations

import logging
import threading

import pytest

from django_cacheaside.engine import prober as module
from django_cacheaside.engine.prober import Prober

LIMIT_S = 10.0
"""Longer than any step takes on a busy machine."""


def threads() -> list[threading.Thread]:
    """Those that probe."""
    return [thread for thread in threading.enumerate() if thread.name == "cacheaside-prober"]


def join() -> None:
    """Until they have ended."""
    for thread in threads():
        thread.join(LIMIT_S)
        assert not thread.is_alive()


class TestProber:
    def test_goes_on_while_it_is_needed(self) -> None:
        turns: list[int] = []

        def turn() -> float:
            turns.append(threading.get_ident())
            return 0.0

        Prober(turn, lambda: len(turns) < 3).start()
        join()
        assert len(turns) == 3
        assert len(set(turns)) == 1
        assert threading.get_ident() not in turns

    def test_is_one_thread_however_often_it_is_started(self) -> None:
        began, goes_on = threading.Event(), threading.Event()

        def turn() -> float:
            began.set()
            goes_on.wait(LIMIT_S)
            return 0.0

        prober = Prober(turn, lambda: not goes_on.is_set())
        for _ in range(3):
            prober.start()
        assert began.wait(LIMIT_S)
        assert len(threads()) == 1
        goes_on.set()
        join()

    def test_begins_again(self) -> None:
        """Also for whom it ends under: who starts it finds it at work, or gone."""
        is_done = threading.Event()
        is_done.set()

        def turn() -> float:
            is_done.set()
            return 0.0

        prober = Prober(turn, lambda: not is_done.is_set())
        for _ in range(500):
            is_done.clear()
            prober.start()
            assert is_done.wait(LIMIT_S)
        join()

    def test_outlives_a_fault_of_ours(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setattr(module, "AFTER_FAULT_S", 0.0)
        faults = [LookupError("a fault")]

        def turn() -> float:
            raise faults.pop()

        with caplog.at_level(logging.ERROR, "django_cacheaside"):
            Prober(turn, lambda: bool(faults)).start()
            join()
        assert not faults
        assert "trying again" in caplog.text

    def test_ends_when_nobody_uses_it_any_more(self) -> None:
        began = threading.Event()

        def turn() -> float:
            began.set()
            return 3600.0

        prober = Prober(turn, lambda: True)
        prober.start()
        assert began.wait(LIMIT_S)
        prober.end()
        join()
        prober.start()
        assert not threads()

    def test_leaves_it_to_requests_where_no_thread_can_be_started(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        prober = Prober(lambda: 0.0, lambda: True)
        prober.start()
        assert prober._thread is None
        assert "probed by requests" in caplog.text

"""Threads of ours: few, started when there is work, gone when there is none, and no worse for what they are given."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from django.db import connections

from django_cacheaside.orm import background
from django_cacheaside.orm.background import Background, may_have_threads

PATIENCE_S = 10.0


def threads() -> list[threading.Thread]:
    """Those of ours."""
    return [thread for thread in threading.enumerate() if thread.name == "cacheaside-refresh"]


def join() -> None:
    """Until they have ended, for want of work."""
    for thread in threads():
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def short_idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(background, "IDLE_S", 0.02)
    yield
    join()


class Held:
    """A task that stays where it is until it is let go."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()
        self.is_done = False

    def __call__(self) -> None:
        self.has_begun.set()
        assert self.may_end.wait(PATIENCE_S)
        self.is_done = True


class TestBackground:
    def test_does_what_it_is_given_on_another_thread(self) -> None:
        done: list[int] = []
        assert Background().later(lambda: done.append(threading.get_ident()))
        join()
        assert len(done) == 1
        assert done[0] != threading.get_ident()

    def test_has_no_thread_before_there_is_work(self) -> None:
        Background()
        assert threads() == []

    def test_has_no_more_threads_than_it_may(self) -> None:
        doing, tasks = Background(threads=2), [Held() for _ in range(5)]
        assert all(doing.later(task) for task in tasks)
        assert all(task.has_begun.wait(PATIENCE_S) for task in tasks[:2])
        assert len(threads()) == 2
        assert not any(task.has_begun.is_set() for task in tasks[2:])
        for task in tasks:
            task.may_end.set()
        join()
        assert all(task.is_done for task in tasks)

    def test_takes_work_again_after_its_threads_have_ended(self) -> None:
        doing, done = Background(), []
        for turn in range(3):
            assert doing.later(lambda turn=turn: done.append(turn))  # type: ignore[misc]
            join()
        assert done == [0, 1, 2]

    def test_loses_nothing_that_comes_while_a_thread_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It looks at the queue a last time under the lock that is held by whoever gives it work."""
        monkeypatch.setattr(background, "IDLE_S", 0.0)  # each is about to end whenever it has nothing to do
        doing, done = Background(threads=1), []
        for turn in range(500):
            while not doing.later(lambda turn=turn: done.append(turn)):  # type: ignore[misc]
                pass
        join()
        assert done == list(range(500))

    @pytest.mark.parametrize("error", [ValueError("no"), ConnectionError("away")], ids=["value", "connection"])
    def test_outlives_a_task_that_raises(self, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
        def fail() -> None:
            raise error

        doing, done = Background(threads=1), []
        assert doing.later(fail)
        assert doing.later(lambda: done.append(threading.current_thread()))
        join()
        assert len(done) == 1
        assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]

    def test_does_its_task_though_a_connection_can_not_be_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A row that is never given back would never be loaded again."""

        def fail() -> None:
            raise OSError("no such socket")

        monkeypatch.setattr(background, "close_old_connections", fail)
        done: list[bool] = []
        Background().later(lambda: done.append(True))
        join()
        assert done == [True]

    def test_refuses_what_it_could_not_do_soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(background, "MOST_WAITING", 3)
        doing, held = Background(threads=1), Held()
        assert doing.later(held)
        assert held.has_begun.wait(PATIENCE_S)
        done: list[int] = []
        taken = [doing.later(lambda turn=turn: done.append(turn)) for turn in range(5)]  # type: ignore[misc]
        assert taken == [True, True, True, False, False]
        held.may_end.set()
        join()
        assert done == [0, 1, 2]

    def test_refuses_where_no_thread_can_be_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process at its limit of threads, or about to end: who reads a stale row must not fail of that."""

        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        doing, done = Background(), []
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            assert not doing.later(lambda: done.append("lost"))
        assert doing.later(lambda: done.append("done"))
        join()
        assert done == ["done"]

    def test_does_with_one_thread_if_there_is_no_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        doing, held, done = Background(threads=2), Held(), []
        assert doing.later(held)
        assert held.has_begun.wait(PATIENCE_S)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", lambda thread: (_ for _ in ()).throw(RuntimeError("no")))
            assert doing.later(lambda: done.append(True))
        held.may_end.set()
        join()
        assert done == [True]

    def test_once_closed_takes_nothing_more_and_does_what_waits(self) -> None:
        doing, held, done = Background(threads=1), Held(), []
        assert doing.later(held)
        assert held.has_begun.wait(PATIENCE_S)
        assert doing.later(lambda: done.append(1))
        doing.close()
        assert not doing.later(lambda: done.append(2))
        held.may_end.set()
        join()
        assert done == [1]

    def test_closes_its_connections_when_it_is_idle(self, databases: None) -> None:
        made = []

        def use() -> None:
            for alias in connections:
                connections[alias].ensure_connection()
                made.append(connections[alias])

        Background().later(use)
        join()
        assert len(made) == len(list(connections))
        assert all(connection.connection is None for connection in made)


class TestInATestRun:
    def test_there_are_none(self) -> None:
        assert not may_have_threads()

    def test_a_program_that_is_no_test_run_has_them(self) -> None:
        program = (
            "import django; django.setup()\n"
            "from django_cacheaside.orm.background import may_have_threads\n"
            "raise SystemExit(7 if may_have_threads() else 0)"
        )
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 7

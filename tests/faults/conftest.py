"""A scene for each fault, and its figures behind the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from example_project.embedded import EmbeddedValkey
from tests.faults.nursery import Nursery
from tests.faults.scene import Figures, Scene

_FIGURES = pytest.StashKey[dict[str, Figures]]()


@pytest.fixture(scope="session")
def nursery(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Nursery]:
    """Forks processes that have set Django up."""
    with django_db_blocker.unblock(), Nursery() as warmed:
        yield warmed


@pytest.fixture
def lose() -> str | None:
    """The guard that everybody goes on without; controls parametrize it."""
    return None


@pytest.fixture
def scene(nursery: Nursery, commits: None, request: pytest.FixtureRequest, lose: str | None) -> Iterator[Scene]:
    """A Valkey of its own, no rows, and nobody there yet."""
    valkey = EmbeddedValkey(enable_debug_command="local", enable_protected_configs="yes", repl_diskless_sync_delay=0)
    with valkey, Scene(nursery, valkey, lose=lose) as scene:
        yield scene
        if scene.figures is not None:
            request.config.stash.setdefault(_FIGURES, {})[request.node.nodeid] = scene.figures


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Of each scenario what its readers have read."""
    figures = terminalreporter.config.stash.get(_FIGURES, {})
    if not figures:
        return
    terminalreporter.section("faults: what the readers saw")
    terminalreporter.line(
        f"{'readers':>7} {'reads':>7} {'meanwhile':>9} {'for':>7} {'hits before':>11} {'stale':>6} {'excused':>7}"
    )
    for name, one in figures.items():
        terminalreporter.line(
            f"{one.readers:7d} {one.reads:7d} {one.reads_between:9d} {one.fault_s:5.1f} s {one.hit_ratio:11.1%} "
            f"{one.stale:6d} {one.excused:7d}  {name.rpartition('/')[2]}"
        )

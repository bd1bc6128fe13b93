"""A project with a user of its own that is cached: a settings module apart, so two processes apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.orm.process import Process
from tests.orm.writes import ALL_MODES

TITLES = ("create_user", "set_password", "password saved alone", "login", "update", "groups", "SQL", "delete")


@pytest.fixture(scope="module")
def project(databases: None) -> Iterator[Process]:
    """A process of that project, with its table in both databases."""
    process = Process("tests.members.settings")
    try:
        for db in ("default", "sqlite"):
            process.call("tests.members.writes.create_table", db)
        yield process
        for db in ("default", "sqlite"):
            process.call("tests.members.writes.drop_table", db)
    finally:
        process.close()


def test_is_swapped(project: Process) -> None:
    assert project.call("tests.members.writes.is_swapped")
    assert project.call("tests.members.writes.titles") == list(TITLES)


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("title", TITLES)
def test_a_write_tells_its_keys_and_is_seen_at_once(project: Process, db_alias: str, title: str, mode: str) -> None:
    project.call("tests.members.writes.check", title, db_alias, mode)

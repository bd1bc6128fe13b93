"""The second process of the write tests: it is another one, it ends with its parent, and it does see old rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.orm.process import Process, ProcessError
from tests.orm.watch import Check
from tests.orm.writes import AUTOCOMMIT, COMMIT, ORM_FORMS, RAW_FORMS
from tests.races import mutants
from tests.races.play import Mutant

FORMS = ORM_FORMS | RAW_FORMS


def test_is_another_one(second_process: Process) -> None:
    assert second_process(os.getpid) == second_process.pid != os.getpid()


def test_tells_what_went_wrong_there(second_process: Process) -> None:
    with pytest.raises(ProcessError, match=r"(?s)Traceback.*ZeroDivisionError"):
        second_process(divmod, 1, 0)
    assert second_process(divmod, 1, 1) == (1, 0)


def test_ends_with_a_parent_that_is_killed() -> None:
    """Both hold the pipe that is read here: its end is theirs."""
    program = """
import os, signal, django
django.setup()
from tests.orm.process import Process
process = Process()
print(process(os.getpid) == process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    settings = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    parent = subprocess.run(
        [sys.executable, "-c", program], env=settings, stdout=subprocess.PIPE, timeout=60, check=False
    )
    assert parent.returncode == -signal.SIGKILL
    assert parent.stdout == b"True\n"


@pytest.mark.parametrize("mode", [AUTOCOMMIT, COMMIT])
@pytest.mark.parametrize(
    "title",
    [
        "save updates",
        "update by condition",
        "bulk_create given pks",
        "delete a queryset",
        "UPDATE by pk",
        "INSERT without pk",
    ],
)
@pytest.mark.parametrize("mutant", [mutants.no_invalidation, mutants.nobody_listens], ids=lambda one: one.__name__)
def test_sees_an_old_row_where_nobody_is_told(
    db_alias: str, title: str, mode: str, mutant: Mutant, check: Check
) -> None:
    """The assertions that all write tests share can fail."""
    # inside its transaction a writer that does not know of its write is served the old row: not on SQLite, which reads
    # the database there
    is_first = mutant is mutants.nobody_listens and mode == COMMIT and db_alias == "default"
    who = "the writer" if is_first else "the second process, after COMMIT,"
    with mutant(), pytest.raises(AssertionError, match=f"^{who} saw other rows"):
        check(FORMS[title], db_alias, mode)


@pytest.mark.parametrize("title", ["save updates", "update by condition", "UPDATE by pk"])
def test_misses_the_intents_where_there_are_none(db_alias: str, title: str, check: Check) -> None:
    """Releases alone leave no old row behind, so that the keys told before COMMIT are looked at too."""
    with mutants.no_intents(), pytest.raises(AssertionError, match=r"^missed"):
        check(FORMS[title], db_alias, COMMIT)

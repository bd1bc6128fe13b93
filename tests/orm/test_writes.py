"""Every way to write that Django has: its keys are placed before COMMIT, and no process sees the old row after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.orm.paths import FORMS, PATHS
from tests.orm.watch import Check
from tests.orm.writes import ALL_MODES, DATABASE_CASCADES, LARGE_FORMS, ORM_FORMS, Form, cases

NOT_IN = {
    "raw MERGE": "sqlite",
    "raw TRUNCATE": "sqlite",
    "raw REPLACE": "default",
    "COPY": "sqlite",
    "COMMIT AND CHAIN": "sqlite",
    "PREPARE TRANSACTION": "sqlite",
    "procedures and prepared statements": "sqlite",
    "SQL composed by the driver": "sqlite",
}
"""Paths that one of the databases has no word for."""

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("form", "db", "mode"), cases(ORM_FORMS | DATABASE_CASCADES | LARGE_FORMS))
def test_a_write_tells_its_keys_and_is_seen_at_once(form: Form, db: str, mode: str, check: Check) -> None:
    """Those through other doors are in ``test_writes_by_django``, those in SQL in ``test_net``."""
    check(form, db, mode)


class TestPaths:
    @pytest.mark.parametrize("path", PATHS)
    def test_is_taken_by_forms_or_tests_that_exist(self, path: str) -> None:
        """Each item of the table, and each form that it names."""
        assert PATHS[path]
        for one in PATHS[path]:
            file, _, test = one.partition("::")
            assert one in FORMS or (test and f"def {test}(" in (ROOT / file).read_text("utf-8")), one

    def test_every_form_takes_one(self) -> None:
        assert FORMS.keys() - {title for forms in PATHS.values() for title in forms} == set()

    @pytest.mark.parametrize("path", PATHS)
    def test_is_taken_in_each_database_that_has_it(self, path: str) -> None:
        forms = [FORMS[one] for one in PATHS[path] if one in FORMS]
        databases = {db for form in forms for db in form.databases}
        assert not forms or databases == {"default", "sqlite"} - {NOT_IN.get(path)}

    def test_modes_are_three(self) -> None:
        """In autocommit, committed, rolled back."""
        assert {mode for form in FORMS.values() for mode in form.modes} == set(ALL_MODES)

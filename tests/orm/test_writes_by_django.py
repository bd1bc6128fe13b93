"""Writes through Django's other doors, and what migrations do to tables: seen at once, as those of ``test_writes``."""

from __future__ import annotations

import pytest

from tests.orm.watch import Check
from tests.orm.writes import Form, cases
from tests.orm.writes_by_django import DOOR_FORMS
from tests.orm.writes_of_schema import SCHEMA_FORMS


@pytest.mark.parametrize(("form", "db", "mode"), cases(DOOR_FORMS | SCHEMA_FORMS))
def test_a_write_tells_its_keys_and_is_seen_at_once(form: Form, db: str, mode: str, check: Check) -> None:
    check(form, db, mode)

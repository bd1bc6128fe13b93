"""``armed``: the failpoints by their names."""

from __future__ import annotations

import ast

import pytest
from django.db import DatabaseError

from django_cacheaside.testing import (
    FAILPOINTS,
    armed,
    assert_not_cached,
    empty_cache,
)
from tests.app.models import Product
from tests.fronts.project import ROOT
from tests.fronts.testing.acts import (
    read,
    update,
    with_commits,
)


class TestFailpoints:
    @with_commits
    def test_run_what_is_armed(self, lamp: Product) -> None:
        empty_cache()
        with armed("before-fill", lambda: update(lamp, 8)):
            assert read(lamp).price == 10
        assert_not_cached(lamp)
        assert read(lamp).price == 8

    @with_commits
    def test_what_they_raise_is_an_error_there(self, lamp: Product) -> None:
        def fail() -> None:
            raise DatabaseError("the SELECT")

        empty_cache()
        with armed("before-load", fail), pytest.raises(DatabaseError, match="the SELECT"):
            read(lamp)

    @pytest.mark.parametrize(
        ("name", "hint"), [("before_fill", "Did you mean 'before-fill'?"), ("lunch", "There are: before-intent, ")]
    )
    def test_a_misspelt_name_is_an_error(self, name: str, hint: str) -> None:
        with pytest.raises(LookupError) as failed:
            armed(name, lambda: None)
        assert hint in str(failed.value)

    def test_all_of_the_package_are_named(self) -> None:
        """``reach("name")`` in the source, and names that are handed on."""
        package = ROOT / "django_cacheaside"
        texts = {
            node.value
            for file in package.rglob("*.py")
            if file.parent.name != "testing"
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        reached = {
            node.args[0].value
            for file in package.rglob("*.py")
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Call)
            and getattr(node.func, "id", None) == "reach"
            and isinstance(node.args[0], ast.Constant)
        }
        assert reached - set(FAILPOINTS) == set()
        assert set(FAILPOINTS) - texts == set()

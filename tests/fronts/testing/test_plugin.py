"""The fixtures for pytest, in a project of their own on two workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from django_cacheaside import testing
from tests.fronts.project import ROOT, run_pytest

PROJECT = '''
from pathlib import Path

import pytest
from django.db import connections
from django.test import TestCase, TransactionTestCase

from django_cacheaside.orm.databases import identity
from django_cacheaside.testing import assert_cached, assert_not_cached, assert_round_trips
from tests.app.models import Product


def note(alias):
    """Which databases the keys name, of all workers."""
    with Path(__file__).with_name("databases").open("a") as file:
        file.write(identity(connections[alias]) + "\\n")


def fill(alias):
    note(alias)
    row = Product.objects.using(alias).create(pk=1, name="of one test")
    Product.cached.using(alias).get(pk=1)
    assert_cached(row)


@pytest.mark.parametrize("alias", ["default", "sqlite"])
@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.django_db(databases=["default", "sqlite"])
def test_in_a_transaction(turn, alias, cacheaside_commit_work):
    assert_not_cached(Product, 1, using=alias)
    fill(alias)


@pytest.mark.parametrize("alias", ["default", "sqlite"])
@pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])
def test_with_commits(alias, cacheaside_empty):
    assert_not_cached(Product, 1, using=alias)
    fill(alias)


@pytest.mark.usefixtures("cacheaside_commit_work")
class TestsOfDjango(TestCase):
    databases = {"default", "sqlite"}

    def test_1(self):
        fill("default")
        fill("sqlite")

    def test_2(self):
        assert_not_cached(Product, 1)
        fill("default")
        fill("sqlite")


class TestsWithCommits(TransactionTestCase):
    databases = {"default", "sqlite"}

    def test_1(self):
        fill("default")
        fill("sqlite")

    def test_2(self):
        with assert_round_trips(3), pytest.raises(Product.DoesNotExist):
            Product.cached.get(pk=1)
'''


class TestPlugin:
    def test_its_fixtures_and_the_kinds_of_tests(self, tmp_path: Path) -> None:
        (tmp_path / "conftest.py").write_text('pytest_plugins = ["django_cacheaside.testing.plugin"]\n')
        (tmp_path / "test_shop.py").write_text(PROJECT)
        done = run_pytest(tmp_path, "--tx=2*popen", "--dist=each")
        assert "20 passed" in done, done
        names = set((tmp_path / "databases").read_text().split())
        assert len(names) == 4, names  # both databases of both workers, on one server

    def test_pytest_is_not_needed_without_it(self) -> None:
        program = "import sys, django_cacheaside.testing as t; print(*t.__all__); assert 'pytest' not in sys.modules"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, cwd=ROOT)
        assert "commit_work" in done.stdout, done.stderr


class TestExports:
    def test_all_is_there(self) -> None:
        assert [name for name in testing.__all__ if not hasattr(testing, name)] == []

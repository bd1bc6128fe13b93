"""The example's pages: a first visit, the airports loaded, a second visit, a write."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.fronts.example import ROOT, example_environment

VISIT = """
import json
from django.core.management import call_command
from django.test import Client

client = Client(raise_request_exception=True)

def page(method, path):
    response = getattr(client, method)(path)
    return [response.status_code, response.headers.get("Location"), response.content.decode()]

pages = {"no tables": page("get", "/")}
call_command("migrate", verbosity=0)
pages["no rows"] = page("get", "/")
call_command("load_airports", airports=100)
for visit in ("first", "second"):
    pages[visit] = page("get", "/")
pages["airport"] = page("get", "/airports/12/")
pages["write"] = page("post", "/airports/12/")
for visit in ("written", "read again"):
    pages[visit] = page("get", "/airports/12/")
pages["missing"] = page("get", "/airports/101/")
print(json.dumps(pages))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory, valkey_url) -> dict[str, tuple[int, str | None, str]]:
    """Status, location and text of each visit."""
    environment = example_environment(
        CACHEASIDE_REDIS_URL=valkey_url, CACHEASIDE_DATABASE=str(tmp_path_factory.mktemp("board") / "airports.sqlite3")
    )
    command = [sys.executable, "example_project/manage.py", "shell", "-v", "0", "-c", VISIT]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def cost(text: str) -> str:
    """What the footer says, without the time."""
    (footer,) = re.findall(r"<footer>(.*), [\d.]+ ms\s*</footer>", " ".join(text.split()))
    return footer.strip()


class TestBoard:
    @pytest.mark.parametrize("visit", ["no tables", "no rows"])
    def test_says_what_to_run_first(self, pages, visit):
        status, _, text = pages[visit]
        assert status == 200
        assert "manage.py load_airports" in text
        assert "<table>" not in text

    def test_shows_thirty_hubs(self, pages):
        status, _, text = pages["first"]
        assert status == 200
        assert text.count("/airports/") == 30
        assert re.search(r"HND.*?Tokyo.*?Japan", text, re.DOTALL)

    def test_costs_two_queries_at_first_and_none_from_then_on(self, pages):
        """One for the airports, one for their 23 countries."""
        assert cost(pages["first"][2]) == "0 hits, 53 misses, 2 database queries"
        assert cost(pages["second"][2]) == "53 hits, 0 misses, 0 database queries"

    def test_works_offline(self, pages):
        assert "http" not in pages["second"][2]


class TestAirport:
    def test_is_there_already_when_it_was_on_the_board(self, pages):
        assert cost(pages["airport"][2]) == "2 hits, 0 misses, 0 database queries"

    def test_is_read_anew_after_a_write(self, pages):
        """One query for the airport; its country is still in the cache."""
        assert pages["write"][:2] == [302, "/airports/12/"]
        assert "Write version 2" in pages["written"][2]
        assert cost(pages["written"][2]) == "1 hit, 1 miss, 1 database query"
        assert cost(pages["read again"][2]) == "2 hits, 0 misses, 0 database queries"

    def test_that_is_missing(self, pages):
        assert pages["missing"][0] == 404

"""The example's API, as a client meets it: what it costs the database, and what it says of the cache."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.fronts.example import ROOT, example_environment

VISIT = """
import json
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

call_command("migrate", verbosity=0)
call_command("load_airports", airports=100)
client = Client(raise_request_exception=True)
visits = {}

def visit(name, path, method="get", data=None, **headers):
    with CaptureQueriesContext(connection) as queries:
        response = getattr(client, method)(path, data, content_type="application/json", headers=headers)
    body = json.loads(response.content) if response.content else None
    visits[name] = [response.status_code, response.headers.get("Cache-Status"), len(queries), body]
    return response.headers.get("ETag", "")

etag = visit("first", "/api/airports/12/")
visit("second", "/api/airports/12/")
visit("not modified", "/api/airports/12/", **{"If-None-Match": etag})
visit("write", "/api/airports/12/", "patch", {"version": 1}, **{"If-Match": etag})
visit("late write", "/api/airports/12/", "patch", {"version": 2}, **{"If-Match": etag})
visit("written", "/api/airports/12/", **{"If-None-Match": etag})
visit("missing", "/api/airports/101/")
icao = visits["first"][3]["icao"]
for _ in range(3):
    visit("by code", f"/api/airports/by-code/{icao}/")
visit("no code", "/api/airports/by-code/nowhere/")
for _ in range(3):
    visit("country", "/api/countries/FR/airports/")
print(json.dumps(visits))
"""

HIT, MISS = "CacheAside; hit", "CacheAside; fwd=miss; stored"


@pytest.fixture(scope="module")
def visits(tmp_path_factory: Any, valkey_url: str) -> dict[str, Any]:
    """Status, Cache-Status, number of queries and body of each visit."""
    environment = example_environment(
        CACHEASIDE_REDIS_URL=valkey_url, CACHEASIDE_DATABASE=str(tmp_path_factory.mktemp("api") / "airports.sqlite3")
    )
    command = [sys.executable, "example_project/manage.py", "shell", "-v", "0", "-c", VISIT]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


class TestApi:
    @pytest.mark.parametrize(
        ("visit", "answer"),
        [
            ("first", [200, MISS, 1]),
            ("second", [200, HIT, 0]),
            ("not modified", [304, HIT, 0]),
            ("late write", [412, "CacheAside; fwd=method", 1]),
            ("written", [200, MISS, 1]),
            ("missing", [404, MISS, 1]),
            ("by code", [200, HIT, 0]),
            ("no code", [404, MISS, 1]),
            ("country", [200, HIT, 0]),
        ],
    )
    def test_says_what_it_costs(self, visits: dict[str, Any], visit: str, answer: list[Any]) -> None:
        assert visits[visit][:3] == answer

    def test_shows_what_was_written(self, visits: dict[str, Any]) -> None:
        assert visits["write"][0] == 200
        assert visits["written"][3]["version"] == 1

    def test_gives_the_same_airport_by_code(self, visits: dict[str, Any]) -> None:
        assert visits["by code"][3] == visits["written"][3]

    def test_lists_the_airports_of_a_country(self, visits: dict[str, Any]) -> None:
        listed = visits["country"][3]
        assert "LFPG" in {one["icao"] for one in listed}
        assert {one["country"] for one in listed} == {"FR"}
        assert [one["id"] for one in listed] == sorted(one["id"] for one in listed)

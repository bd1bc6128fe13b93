"""Workers of gunicorn and uWSGI, real ones: each comes to its own connections, and none serves what it inherited."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from example_project.embedded import EmbeddedValkey
from tests.app.handy import Quick
from tests.faults.nursery import PR_SET_PDEATHSIG
from tests.servers import VALKEY_URL
from tests.unwell import kill

pytestmark = pytest.mark.faults

DEADLINE_S = 30.0
MAX_STALENESS_S = 0.5
"""What ``Quick`` allows."""

WORKERS = 2
VISITORS = 8
WRITES = 20

Answer = tuple[float, dict[str, Any]]
"""When a page was asked for, in seconds of the monotonic clock, and what came."""


@dataclass(frozen=True)
class Way:
    """One way to start the site: the command behind ``python -m`` or the program, and what to expect of it.

    Args:
        is_forked_late: Does the master import the application before it forks?
        has_threads: May workers have threads of ours at all times?
    """

    command: tuple[str, ...]
    is_forked_late: bool = False
    has_threads: bool = True


APPLICATION = "tests.faults.preforked:application"
GUNICORN = (sys.executable, "-m", "gunicorn", APPLICATION, "--workers", str(WORKERS), "--bind", "unix:{socket}")
UWSGI = (
    f"{Path(sys.executable).parent}/uwsgi",
    *("--module", APPLICATION, "--http-socket", "{socket}", "--processes", str(WORKERS)),
    *("--master", "--die-on-term", "--need-app", "--virtualenv", sys.prefix),
)
WAYS = {
    "gunicorn": Way(GUNICORN),
    "gunicorn-preload": Way((*GUNICORN, "--preload"), is_forked_late=True),
    "gunicorn-gthread-preload": Way((*GUNICORN, "--preload", "--threads", "2"), is_forked_late=True),
    "uwsgi": Way((*UWSGI, "--enable-threads"), is_forked_late=True),
    "uwsgi-lazy-apps": Way((*UWSGI, "--enable-threads", "--lazy-apps")),
    "uwsgi-without-threads": Way(UWSGI, has_threads=False),
}


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(str(self._path))


def _end_with_parent() -> None:
    """In the server, before it runs: it is told to end when the test run is gone, however that ended."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Site:
    """The site as its visitors know it. A context manager: it must end when it is told to."""

    def __init__(self, way: Way, directory: Path, valkey: EmbeddedValkey, pk: int) -> None:
        self.way = way
        self.pk = pk
        self._socket = directory / "site"
        self._log = directory / "site.log"
        self._visitors = ThreadPoolExecutor(VISITORS)
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.faults.preforked_settings",
            "CACHEASIDE_TEST_DATABASE": str(connections["default"].settings_dict["NAME"]),
            VALKEY_URL: valkey.url,
        }
        if way.is_forked_late:
            environment["CACHEASIDE_TEST_FIRST_READ"] = str(pk)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [part.format(socket=self._socket) for part in way.command],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def log(self) -> str:
        """What the server and its workers have said."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Site:
        try:
            self.until(self._listens)
        except BaseException:
            self._kill_all()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._visitors.shutdown()
        try:
            self._process.terminate()
            self._process.wait(DEADLINE_S)
        finally:
            self._kill_all()

    def _kill_all(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def until(self, is_so: Callable[[], object]) -> None:
        """Ask again and again."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not is_so():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline_s, self.log()
            time.sleep(0.001)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            return client.connect_ex(str(self._socket)) == 0

    def _ask(self, method: str, page: str) -> dict[str, Any]:
        connection = Connection(self._socket)
        try:
            connection.request(method, page)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, self.log()
        return dict(json.loads(body))

    def read(self) -> dict[str, Any]:
        """By one of the workers."""
        return self._ask("GET", f"/read/{self.pk}")

    def write(self) -> dict[str, Any]:
        """By one of the workers; its transaction is committed when this returns."""
        return self._ask("POST", f"/write/{self.pk}")

    def read_at_once(self) -> list[Answer]:
        """Many visitors, by all workers."""
        return list(self._visitors.map(lambda _: (time.monotonic(), self.read()), range(VISITORS)))

    def workers_that(self, do: Callable[[dict[str, Any]], bool]) -> set[int]:
        """Read until every worker has given such an answer: their ids."""
        found: set[int] = set()

        def ask() -> bool:
            answer = self.read()
            if do(answer):
                found.add(answer["pid"])
            return len(found) == WORKERS

        self.until(ask)
        return found


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as valkey:
        yield valkey


@pytest.fixture
def site(way: Way, tmp_path: Path, valkey: EmbeddedValkey, commits: None) -> Iterator[Site]:
    row = Quick.objects.create(version=1)
    with Site(way, tmp_path, valkey, row.pk) as site:
        yield site


def is_served(answer: dict[str, Any]) -> bool:
    return answer["how"] in ("HIT", "NEAR_HIT")


def is_near(answer: dict[str, Any]) -> bool:
    return bool(answer["how"] == "NEAR_HIT")


def test_every_worker_serves_and_none_serves_what_was_replaced(site: Site, valkey: EmbeddedValkey) -> None:
    has_come = is_near if site.way.has_threads else is_served
    workers = site.workers_that(has_come)
    assert site._process.pid not in workers

    for _ in range(WRITES):
        written = site.write()
        assert written["read"] == written["version"]
        committed_s = time.monotonic()
        fresh = {written["pid"]}
        while fresh != workers:
            for asked_s, answer in site.read_at_once():
                if answer["version"] == written["version"]:
                    fresh.add(answer["pid"])
                    continue
                assert answer["version"] == written["version"] - 1
                assert answer["how"] == "NEAR_HIT"
                assert answer["pid"] != written["pid"]
                assert asked_s - committed_s < MAX_STALENESS_S
    site.workers_that(has_come)

    kill(valkey)
    during = site.write()
    assert during["read"] == during["version"]
    assert {site.read()["version"] for _ in range(10)} == {during["version"]}

    valkey.restart()
    assert site.workers_that(has_come) == workers
    after = site.write()
    time_s = time.monotonic()
    site.until(lambda: time.monotonic() - time_s > MAX_STALENESS_S)
    assert site.workers_that(lambda answer: answer["version"] == after["version"]) == workers
    assert {site.read()["version"] for _ in range(10)} == {after["version"]}

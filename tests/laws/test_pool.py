"""Connections: what a killed, hung, foreign or closed server costs, and what a fork does to them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import redis
from redis import ConnectionPool

from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.keys import KeySpace
from django_cacheaside.store.pool import Pool
from django_cacheaside.store.store import Store
from example_project.embedded import EmbeddedValkey

TIMEOUT_S = 0.1
"""Where it is to run out."""

PATIENT_S = 5.0
SPACE = KeySpace("laws.pool", "main", str)


def make_pool(url: str, *, timeout_s: float = PATIENT_S, **options: object) -> Pool:
    parameters = ConnectionPool.from_url(url, **options)
    return Pool(parameters, connect_timeout_s=timeout_s, timeout_s=timeout_s)


def make_store(url: str, *, timeout_s: float = PATIENT_S, **options: object) -> Store:
    return Store(make_pool(url, timeout_s=timeout_s, **options), probe_key="laws:probe")


@pytest.fixture
def pool(valkey_url: str) -> Iterator[Pool]:
    pool = make_pool(valkey_url)
    yield pool
    pool.close()


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


def id_of(pool: Pool) -> int:
    """Which connection it is, by the server's count."""
    _, number = pool.call(("CLIENT", "ID"))
    assert isinstance(number, int)
    return number


class TestReuse:
    def test_the_connection_used_last_is_used_next(self, pool: Pool) -> None:
        assert id_of(pool) == id_of(pool)

    def test_a_killed_one_is_replaced_without_an_error(self, pool: Pool, client: redis.Redis) -> None:
        """Servers and proxies hang up on idle clients: nobody may notice."""
        before = id_of(pool)
        client.client_kill_filter(_id=str(before))
        after = id_of(pool)
        assert after != before
        assert id_of(pool) == after

    def test_killed_ones_are_all_replaced_by_one(self, pool: Pool, client: redis.Redis) -> None:
        """What killed one killed its idle neighbours: they are not tried one by one."""
        links = [pool.take() for _ in range(5)]
        numbers = [link.call(("CLIENT", "ID")) for link in links]
        for link in links:
            pool.give(link)
        for number in numbers:
            client.client_kill_filter(_id=str(number))
        connections = client.info("stats")["total_connections_received"]
        assert id_of(pool) not in numbers
        assert client.info("stats")["total_connections_received"] == connections + 1

    def test_is_tried_once_on_a_server_that_has_gone(self, fresh_valkey: EmbeddedValkey) -> None:
        store = make_store(fresh_valkey.url)
        store.read_one(SPACE, "1")
        assert fresh_valkey.pid is not None
        os.kill(fresh_valkey.pid, signal.SIGKILL)
        with pytest.raises(StoreUnavailableError):
            store.read_one(SPACE, "1")
        fresh_valkey.restart()
        store.trust(store.probe())
        assert store.read_one(SPACE, "1").entry is None

    def test_a_restarted_server_has_another_run_id(self, fresh_valkey: EmbeddedValkey) -> None:
        """The restart broke the connection that knew the old one."""
        store = make_store(fresh_valkey.url)
        before = store.read_one(SPACE, "1").run
        fresh_valkey.restart()
        for read in (lambda: store.read_one(SPACE, "1"), lambda: store.read(SPACE, ["1"])):
            with pytest.raises(StoreUnavailableError, match="restarted"):
                read()
        run = store.probe()
        assert run != before
        with pytest.raises(StoreUnavailableError, match="restarted"):
            store.read_one(SPACE, "1")
        store.trust(run)
        assert store.read_one(SPACE, "1").run == run
        store.close()

    def test_close_leaves_the_pool_usable(self, pool: Pool) -> None:
        before = id_of(pool)
        pool.close()
        assert id_of(pool) != before

    def test_close_while_others_take(self, pool: Pool) -> None:
        """Another thread may take the last idle connection between the look and the grip."""

        class Emptied(list):  # type: ignore[type-arg]
            def __bool__(self) -> bool:
                return True

        pool._idle = Emptied()
        pool.close()


class TestLimit:
    def test_more_than_max_connections_is_unavailable(self, valkey_url: str) -> None:
        """Refused at once: a queue would only move the waiting."""
        pool = make_pool(valkey_url, max_connections=2)
        store = Store(pool, probe_key="laws:probe")
        links = [pool.take(), pool.take()]
        with pytest.raises(StoreUnavailableError, match="max_connections"):
            store.read_one(SPACE, "1")
        pool.give(links.pop())
        store.read_one(SPACE, "1")
        pool.drop(links.pop())
        store.close()

    def test_failed_connects_are_not_counted(self) -> None:
        store = make_store("redis://127.0.0.1:1/0", max_connections=2)
        for _ in range(5):
            with pytest.raises(StoreUnavailableError) as caught:
                store.read_one(SPACE, "1")
            assert "max_connections" not in str(caught.value)

    def test_dropped_connections_are_not_counted(self, valkey_url: str, client: redis.Redis) -> None:
        pool = make_pool(valkey_url, max_connections=1)
        for _ in range(5):
            client.client_kill_filter(_id=str(id_of(pool)))
        pool.close()

    def test_threads_share_the_pool(self, valkey_url: str) -> None:
        """Every reply goes to the thread that asked."""
        pool = make_pool(valkey_url, max_connections=8)
        wrong: list[object] = []

        def ask(name: str) -> None:
            try:
                wrong.extend(reply for _ in range(200) if (reply := pool.call(("ECHO", name))[1]) != name.encode())
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=ask, args=(f"thread-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        pool.close()


class TestAHungServer:
    @pytest.fixture
    def frozen(self, fresh_valkey: EmbeddedValkey) -> Iterator[Store]:
        store = make_store(fresh_valkey.url, timeout_s=TIMEOUT_S)
        store.read_one(SPACE, "1")
        assert fresh_valkey.pid is not None
        os.kill(fresh_valkey.pid, signal.SIGSTOP)
        yield store
        with contextlib.suppress(ProcessLookupError):
            os.kill(fresh_valkey.pid, signal.SIGCONT)
        store.close()

    def test_is_unavailable_in_time(self, frozen: Store) -> None:
        """Over a kept connection, and over the fresh one that takes its place: one time-out each, no second try."""
        for _ in range(2):
            start = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                frozen.read_one(SPACE, "1")
            assert TIMEOUT_S * 0.9 <= time.monotonic() - start < TIMEOUT_S * 8

    def test_late_replies_are_nobodys(self, frozen: Store, fresh_valkey: EmbeddedValkey) -> None:
        """A reply that comes after its time-out must not answer the next question."""
        with pytest.raises(StoreUnavailableError):
            frozen.read_one(SPACE, "1")
        assert fresh_valkey.pid is not None
        os.kill(fresh_valkey.pid, signal.SIGCONT)
        with redis.Redis.from_url(fresh_valkey.url) as client:
            client.set(SPACE.entry("2"), b"two")
        assert [entry for rows in frozen.read(SPACE, ["2", "1"]) for entry in rows.entries] == [b"two", None]

    def test_that_stops_writes_still_reads(self, fresh_valkey: EmbeddedValkey) -> None:
        """CLIENT PAUSE WRITE, as in a failover: the probe tells, the read doesn't."""
        store = make_store(fresh_valkey.url, timeout_s=TIMEOUT_S)
        with redis.Redis.from_url(fresh_valkey.url) as client:
            client.execute_command("CLIENT", "PAUSE", 2000, "WRITE")
            assert store.read_one(SPACE, "1").entry is None
            with pytest.raises(StoreUnavailableError):
                store.probe()
            client.execute_command("CLIENT", "UNPAUSE")
        store.close()


class TestFork:
    def test_a_child_uses_its_own_connections(self, pool: Pool, client: redis.Redis) -> None:
        """Shared sockets would hand the parent's replies to the child."""
        before = id_of(pool)
        parent_end, child_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                replies = [pool.call(("ECHO", "child"))[1] for _ in range(100)]
                os.write(child_end, b"%d %d" % (id_of(pool), replies == [b"child"] * 100))
            finally:
                os._exit(0)
        replies = [pool.call(("ECHO", "parent"))[1] for _ in range(100)]
        os.waitpid(child, 0)
        number, was_right = os.read(parent_end, 100).split()
        os.close(parent_end)
        os.close(child_end)
        assert was_right == b"1"
        assert replies == [b"parent"] * 100
        assert int(number) != before
        assert id_of(pool) == before, "the child has hung up its parent's connection"

    def test_a_child_may_close(self, pool: Pool) -> None:
        """Its parent's connections stay open, even if a thread of the parent held the lock at the fork."""
        before = id_of(pool)
        with pool._lock:
            child = os.fork()
            if child == 0:
                signal.alarm(5)
                try:
                    pool.close()
                    os._exit(0)
                finally:
                    os._exit(1)
        _, status = os.waitpid(child, 0)
        assert status == 0
        assert id_of(pool) == before


@contextlib.contextmanager
def impostor(*replies: bytes) -> Iterator[str]:
    """A TCP server that says the replies in turn, one for each thing it hears, the last one for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    said = iter(replies)
                    reply = b""
                    while connection.recv(65536):
                        reply = next(said, reply)
                        connection.sendall(reply)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


class TestANonRedisServer:
    @pytest.mark.parametrize(
        "replies",
        [
            pytest.param([HTTP], id="http"),
            pytest.param([b"\x00\xff\x15\x03\x01"], id="tls-alert"),
            pytest.param([b"+OK\r\n"], id="ok-to-everything"),
            pytest.param([b"$-1\r\n"], id="nil-to-everything"),
            pytest.param([b"*2\r\n+a\r\n+b\r\n"], id="array-to-everything"),
            pytest.param([b"+OK\r\n" * 2, b"$16\r\nredis_version:1\n\r\n"], id="info-without-run-id"),
            pytest.param([b"+OK\r\n" * 2, b"$13\r\nrun_id:no-hex\r\n"], id="run-id-that-is-no-hex"),
            pytest.param([b"+OK\r\n" * 2, b"$11\r\nrun_id:cafe\r\n"], id="run-id-too-short"),
            pytest.param([b"-ERR unknown command\r\n" * 2], id="error-to-everything"),
            pytest.param([b""], id="silence"),
        ],
    )
    def test_is_unavailable(self, replies: list[bytes]) -> None:
        """Whatever it says, the reader goes to the database."""
        with impostor(*replies) as url:
            store = make_store(url, timeout_s=TIMEOUT_S)
            for _ in range(2):
                with pytest.raises(StoreUnavailableError):
                    store.read_one(SPACE, "1")
            with pytest.raises(StoreUnavailableError):
                store.probe()
            store.close()


class TestAccess:
    def test_a_wrong_password_is_unavailable(self, fresh_valkey: EmbeddedValkey) -> None:
        with redis.Redis.from_url(fresh_valkey.url) as client:
            client.config_set("requirepass", "secret")
            for options in ({}, {"password": "wrong"}):
                with pytest.raises(StoreUnavailableError):
                    make_store(fresh_valkey.url, **options).read_one(SPACE, "1")
            store = make_store(fresh_valkey.url, password="secret")
            assert store.read_one(SPACE, "1").entry is None
            store.close()

    def test_a_forbidden_command_is_unavailable(self, fresh_valkey: EmbeddedValkey) -> None:
        with redis.Redis.from_url(fresh_valkey.url) as client:
            client.execute_command("ACL", "SETUSER", "reader", "on", ">x", "~*", "+@read", "+info", "+select")
        store = make_store(fresh_valkey.url, username="reader", password="x")
        assert store.read_one(SPACE, "1").entry is None
        with pytest.raises(StoreUnavailableError, match="NoPermission"):
            store.flush([SPACE])
        assert store.read_one(SPACE, "1").entry is None
        store.close()

    def test_no_server_at_all_is_unavailable(self) -> None:
        with pytest.raises(StoreUnavailableError):
            make_store("unix:///nonexistent/socket").read_one(SPACE, "1")

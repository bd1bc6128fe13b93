"""Connections with short time-outs, each of which knows the run id of its server.

redis-py's own pool polls the socket and records metrics on every take; ours hands out the connection used last and
finds out that it is dead when it is used, at which a fresh one takes its place once. Nothing else is ever retried.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from time import time_ns
from typing import Any

from hiredis import pack_command
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

from django_cacheaside.store.envelope import RUN_SIZE

Command = tuple[Any, ...]

BYTES_PER_SEND = 65_536
"""Bytes after which a pipeline is cut into another send."""


class Link:
    """One connection and the run id of the server behind it, and by how much that one's clock is ahead of ours.

    ``run`` is read once, when the connection is made (INFO, 0.3 ms): a server that restarts breaks its connections.
    """

    __slots__ = ("_connection", "ahead_ms", "is_reused", "run")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.is_reused = False
        connection.connect()
        try:
            info = self.call(("INFO", "server"))
            self.run = _run_of(info)
            self.ahead_ms = _ahead_ms(info)
        except BaseException:
            connection.disconnect()
            raise

    def call(self, command: Command) -> Any:
        """Send one command and return its reply. One round trip; a reply that is an error is raised."""
        connection = self._connection
        try:
            connection.send_packed_command([pack_command(command)], check_health=False)
            return connection.read_response()
        except ResponseError:
            raise
        except BaseException:
            connection.disconnect()
            raise

    def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """Send all commands at once and return their replies, errors among them as values. One round trip."""
        connection = self._connection
        replies: list[Any] = []
        try:
            connection.send_packed_command(list(_pieces(commands)), check_health=False)
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except ResponseError as error:  # noqa: PERF203  each reply is read, whatever the others are
                    # its traceback would tie up every frame of the caller, and the cursors in them, until the next
                    # collection
                    replies.append(error.with_traceback(None))
        except BaseException:
            connection.disconnect()
            raise
        return replies

    def close(self) -> None:
        """Hang up."""
        self._connection.disconnect()


class Pool:
    """Links to one server, last used first.

    Args:
        parameters: A redis-py pool of the cache alias, made for its connection class and keyword arguments only.
        connect_timeout_s: Seconds that a connect may take.
        timeout_s: Seconds without a byte from the server after which an operation has failed.
    """

    def __init__(self, parameters: ConnectionPool, *, connect_timeout_s: float, timeout_s: float) -> None:
        self._connection_class = parameters.connection_class
        self._parameters = parameters  # a Sentinel's connections ask it for the master through a weak reference
        self._arguments = {
            **parameters.connection_kwargs,
            "socket_connect_timeout": connect_timeout_s,
            "socket_timeout": timeout_s,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "retry_on_error": [],
            "health_check_interval": 0,
            "decode_responses": False,
            "protocol": 2,
        }
        self._limit = parameters.max_connections
        self.ahead_ms = 0
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._idle: list[Link] = []
        self._open = 0
        self._pid = os.getpid()

    def take(self) -> Link:
        """A connection for one exchange; give it back with ``give``, or ``drop`` it.

        Raises:
            redis.exceptions.ConnectionError: None is idle and as many are open as the alias's ``max_connections``.
        """
        self._leave_parent()
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _leave_parent(self) -> None:
        """In a forked child: forget the parent's sockets, and the lock that a thread of the parent may have held."""
        if self._pid != os.getpid():
            self._lock = threading.Lock()
            self._reset()

    def _connect(self) -> Link:
        with self._lock:
            if self._open >= self._limit:
                raise RedisConnectionError(f"all {self._limit} connections are in use (max_connections of the alias)")
            self._open += 1
        try:
            link = Link(self._connection_class(**self._arguments))
        except BaseException:
            with self._lock:
                self._open -= 1
            raise
        self.ahead_ms = link.ahead_ms
        return link

    def apart(self) -> Any:
        """A connection that is none of the pool's and speaks RESP3, not yet connected."""
        return self._connection_class(**{**self._arguments, "protocol": 3})

    def give(self, link: Link) -> None:
        """Take a connection back whose replies have all been read."""
        link.is_reused = True
        self._idle.append(link)

    def drop(self, link: Link) -> None:
        """Hang up a connection that failed."""
        link.close()
        with self._lock:
            self._open -= 1

    def close(self) -> None:
        """Hang up all idle connections."""
        self._leave_parent()
        while True:
            try:
                link = self._idle.pop()
            except IndexError:  # not asked before: another thread may take the last one in between
                return
            self.drop(link)

    def call(self, command: Command) -> tuple[bytes, Any]:
        """Send one command: the run id of the server that answered, and the reply. One round trip.

        Raises:
            redis.exceptions.RedisError, OSError: As redis-py does, for replies that are errors too.
        """
        return self._exchange(Link.call, command)

    def pipeline(self, commands: Sequence[Command]) -> tuple[bytes, list[Any]]:
        """Send commands at once: the run id of the server that answered, and the replies, errors as values.

        One round trip. Raises as ``call`` does, but not for replies.
        """
        return self._exchange(Link.pipeline, commands)

    def _exchange(self, send: Callable[[Link, Any], Any], what: Any) -> tuple[bytes, Any]:
        """Send over a kept connection, and over a fresh one if that turns out to be dead.

        Sending twice is safe: reads change nothing, and scripts act by their token.
        """
        while True:
            link = self.take()
            try:
                reply = send(link, what)
            except ResponseError:
                self.give(link)
                raise
            except (RedisConnectionError, OSError):
                self.drop(link)
                if not link.is_reused:
                    raise
                self.close()  # what killed this one killed its idle neighbours
            except BaseException:
                self.drop(link)
                raise
            else:
                self.give(link)
                return link.run, reply


def _pieces(commands: Sequence[Command]) -> Iterator[bytes]:
    """The commands packed, in pieces: the time-out of a send holds for all that is sent at once."""
    piece: list[bytes] = []
    size = 0
    for command in commands:
        packed = pack_command(command)
        piece.append(packed)
        size += len(packed)
        if size >= BYTES_PER_SEND:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


def _run_of(info: Any) -> bytes:
    """The first bytes of ``run_id`` from INFO's text.

    Raises:
        redis.exceptions.ConnectionError: There is none: a proxy, or a server that is neither Redis nor Valkey.
    """
    text = info if isinstance(info, bytes) else b""
    for line in text.splitlines():
        if line.startswith(b"run_id:"):
            with contextlib.suppress(ValueError):  # no hexadecimal number
                run = bytes.fromhex(line[7:].decode()[: 2 * RUN_SIZE])
                if len(run) == RUN_SIZE:
                    return run
    raise RedisConnectionError("INFO names no run_id: django_cacheaside needs Redis 6.2 or later, or Valkey")


def _ahead_ms(info: bytes) -> int:
    """By how much the server's clock is ahead of this process's, from INFO's text: 0 where it doesn't say."""
    for line in info.splitlines():
        if line.startswith(b"server_time_usec:") and line[17:].isdigit():
            return int(line[17:]) // 1000 - time_ns() // 1_000_000
    return 0

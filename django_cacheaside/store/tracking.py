"""A connection on which the server tells which keys were modified, whoever did it.

``CLIENT TRACKING ON BCAST``: every write, expiry and eviction of a key with one of the prefixes is pushed, in the order
in which the server acted. So whoever has read the reply to a command has read every push of what was done before the
command before it.

Source: "Client-side caching in Redis", broadcasting mode.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hiredis import ProtocolError, PushNotification, Reader, ReplyError, pack_command
from redis.exceptions import ResponseError

from django_cacheaside.exceptions import StoreUnavailableError, TrackingRefusedError
from django_cacheaside.store.errors import CLIENT_ERRORS, unavailable
from django_cacheaside.store.pool import Link

BYTES_PER_RECEIVE = 65_536
MOST_RECEIVES = 64
"""After so many without a pause the rest is left for the next look: whoever listens has something else to do."""


@dataclass(frozen=True, slots=True)
class Modified:
    """Keys were written, expired or evicted; None for all of them (FLUSHALL)."""

    keys: list[str] | None


@dataclass(frozen=True, slots=True)
class Beat:
    """The server has answered.

    Args:
        sent_at_s: When it was asked, as the asker said.
        server_s: Its clock, in seconds since 1970; None if it doesn't say.
        is_primary: Is it, at the least as far as it says, no replica?
    """

    sent_at_s: float
    server_s: float | None
    is_primary: bool


@dataclass(frozen=True, slots=True)
class Following:
    """From now on keys with these prefixes are told of."""

    prefixes: tuple[str, ...]


Heard = Modified | Beat | Following


class Tracking:
    """One such connection. ``is_silent`` is for any thread at any time; the rest for one thread at a time.

    Args:
        connection: Of redis-py, for RESP3, not yet connected.

    Attributes:
        run: The run id of the server.

    Raises:
        TrackingRefusedError: The server knows no RESP3, or forbids what is needed: Redis before 6, some proxies.
        StoreUnavailableError: It did not answer, here and in each act.
    """

    def __init__(self, connection: Any) -> None:
        try:
            self._link = Link(connection)
        except ResponseError as error:
            raise TrackingRefusedError(f"{type(error).__name__}: {error}") from error
        except CLIENT_ERRORS as error:
            raise unavailable(error) from error
        self.run = self._link.run
        # redis-py's own reader has no way to ask for what has arrived that takes less than a hit may
        self._socket: socket.socket = connection._sock
        self._socket.settimeout(0)
        self._wait, self._close_wait = _waiter(self._socket)
        self._reader = Reader(notEnoughData=_NOTHING)
        self._answers: deque[Callable[[Any], Heard | None]] = deque()

    def is_silent(self) -> bool:
        """Has nothing arrived since the last ``hear``, not even the end? 0.3 µs: one system call, no bytes."""
        return not self._wait(0)

    def wait(self, timeout_s: float) -> None:
        """Until something arrives, ``timeout_s`` seconds at most."""
        self._wait(timeout_s)

    def follow(self, prefixes: Sequence[str]) -> None:
        """Ask to be told of more keys; no prefix may begin another. ``Following`` is heard when it holds."""

        def answer(reply: Any) -> Heard:
            if isinstance(reply, ReplyError):
                raise TrackingRefusedError(f"CLIENT TRACKING: {reply}")
            return Following(tuple(prefixes))

        named = [part for prefix in prefixes for part in ("PREFIX", prefix)]
        self._send([(("CLIENT", "TRACKING", "ON", "BCAST", *named), answer)])

    def beat(self, now_s: float) -> None:
        """Ask whether it is there. ``Beat`` is heard when it answers."""
        server_s: list[float] = []

        def answer_time(reply: Any) -> None:
            if isinstance(reply, list) and len(reply) == 2 and all(part.isdigit() for part in reply):
                server_s.append(int(reply[0]) + int(reply[1]) / 1_000_000)

        def answer_role(reply: Any) -> Heard:
            is_replica = isinstance(reply, list) and bool(reply) and reply[0] != b"master"
            return Beat(now_s, server_s[0] if server_s else None, not is_replica)

        self._send([(("TIME",), answer_time), (("ROLE",), answer_role)])

    def _send(self, asked: Iterable[tuple[tuple[str, ...], Callable[[Any], Heard | None]]]) -> None:
        packed = b""
        for command, answer in asked:
            packed += pack_command(command)  # type: ignore[arg-type]  # its stub knows tuples of one only
            self._answers.append(answer)
        try:
            sent = self._socket.send(packed)
        except OSError as error:
            raise unavailable(error) from error
        if sent < len(packed):
            raise StoreUnavailableError("the server takes nothing more on the connection of the near cache")

    def hear(self) -> tuple[list[Heard], bool]:
        """What has arrived, in its order, and whether that is all. Does not wait.

        Raises:
            StoreUnavailableError: The connection has ended, or holds something else than replies.
        """
        heard: list[Heard] = []
        for _ in range(MOST_RECEIVES):
            try:
                received = self._socket.recv(BYTES_PER_RECEIVE)
            except (BlockingIOError, ssl.SSLWantReadError):
                return heard, True
            except OSError as error:
                raise unavailable(error) from error
            if not received:
                raise StoreUnavailableError("the server has closed the connection of the near cache")
            self._reader.feed(received)
            self._take_replies(heard)
        return heard, False

    def _take_replies(self, heard: list[Heard]) -> None:
        try:
            while (reply := self._reader.gets()) is not _NOTHING:
                if isinstance(reply, PushNotification):
                    if (modified := _modified(reply)) is not None:
                        heard.append(modified)
                elif (said := self._answers.popleft()(reply)) is not None:
                    heard.append(said)
        except (ProtocolError, IndexError) as error:
            raise StoreUnavailableError(f"no replies on the connection of the near cache: {error!r}") from error

    def close(self) -> None:
        """Hang up. Who looks meanwhile finds that something has arrived, and then that it was the end."""
        self._close_wait()
        self._link.close()


_NOTHING = object()


def _modified(push: list[Any]) -> Modified | None:
    if push[0] != b"invalidate":
        return None
    keys = push[1]
    return Modified(None if keys is None else [key.decode("utf-8", "surrogateescape") for key in keys])


def _waiter(sock: socket.socket) -> tuple[Callable[[float], object], Callable[[], None]]:
    """A function that waits for something to arrive, for so many seconds, and one that ends it.

    Threads may call it at once: a poll object of their own does not let them.
    """
    if hasattr(select, "epoll"):
        epoll = select.epoll()
        epoll.register(sock.fileno(), select.EPOLLIN)
        poll = epoll.poll

        def wait_by_epoll(timeout_s: float) -> object:
            try:
                return poll(timeout_s, 1)
            except (OSError, ValueError):  # closed by another thread
                return True

        return wait_by_epoll, epoll.close

    def wait_by_poll(timeout_s: float) -> object:
        try:
            one = select.poll()
            one.register(sock, select.POLLIN)
            return one.poll(1000 * timeout_s)
        except (OSError, ValueError):
            return True

    return wait_by_poll, lambda: None

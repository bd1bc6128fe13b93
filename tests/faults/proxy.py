"""A line between one process and its server that a test can cut, hold, or lead to another server.

A proxy in the test's own process: a socket of its own, two threads a connection. Nothing is parsed: a place in the
stream is told by the bytes that stand there, which the protocols of Redis and PostgreSQL send in one piece.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from typing_extensions import Self

Address = str | tuple[str, int]
"""A unix socket's path, or host and port."""

DEADLINE_S = 20.0
"""How long a test waits for bytes to come by, in seconds."""


class ProxyError(Exception):
    """The bytes that were waited for never came by: not an ``AssertionError``, so that no mutant can pass by it."""


class _Mark:
    """Where a stream stops: at the ``count``-th occurrence of ``bytes_``, or behind it."""

    def __init__(self, bytes_: bytes, count: int, *, is_behind: bool) -> None:
        self._bytes = bytes_
        self._left = count
        self._is_behind = is_behind

    def find(self, data: bytes) -> int | None:
        """How much of ``data`` may pass, None for all."""
        at = -1
        while (at := data.find(self._bytes, at + 1)) >= 0:
            self._left -= 1
            if self._left == 0:
                return len(data) if self._is_behind else at
        return None


class _Line:
    """One connection: what comes from the client, and what comes from the server."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._ends = (client, server)
        self._threads = [
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True),
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        """Until the source ends. Only the sink hears of that: what the other direction still carries is delivered."""
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                for piece in self._proxy._passing(self, data, is_request=is_request):
                    sink.sendall(piece)
        _shut(sink, socket.SHUT_WR)

    def hang_up_client(self) -> None:
        _shut(self._ends[0], socket.SHUT_RDWR)

    def cut(self) -> None:
        for end in self._ends:
            _shut(end, socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        for end in self._ends:
            end.close()


class Proxy:
    """A context manager: the socket is open inside the block.

    Args:
        listen: The unix socket's path, or the host and port 0 of a free port, at which clients find it.
        upstream: The server. Another one may be set; connections made from then on go there.
    """

    def __init__(self, listen: Address, upstream: Address) -> None:
        self.upstream = upstream
        self._listener = _socket(listen)
        self._listener.bind(listen)
        self._listener.listen(64)
        self.address: Address = self._listener.getsockname()
        self._moved = threading.Condition()
        self._lines: list[_Line] = []
        self._is_cut = self._is_hung = self._is_closed = False
        self._request_mark: _Mark | None = None
        self._reply_mark: _Mark | None = None
        self._are_replies_held = False
        self._holding: set[tuple[_Line, bool]] = set()
        self._generation = 0  # who is held waits for the next one
        self._are_dropped = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._is_closed = True
        self.cut()
        _shut(self._listener, socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE_S)
        for line in self._all_lines():
            line.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = _socket(self.upstream)
            try:
                if self._is_cut:
                    raise ConnectionRefusedError
                server.connect(self.upstream)
            except OSError:
                server.close()
                client.close()
                continue
            line = _Line(self, client, server)
            with self._moved:
                self._lines.append(line)
            line.start()

    # --- what a test does --------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Break every connection, drop what is held, and refuse new ones until ``mend``."""
        with self._moved:
            self._is_cut = self._are_dropped = True
            self._release()
        for line in self._all_lines():
            line.cut()

    def hang(self) -> None:
        """Take connections and bytes and pass nothing on, either way, until ``mend``."""
        with self._moved:
            self._is_hung = True

    def mend(self) -> None:
        """Pass on everything, from now on and what is held."""
        with self._moved:
            self._is_cut = self._is_hung = self._are_dropped = False
            self._release()

    def break_lines(self) -> None:
        """Break every connection; new ones are taken."""
        self.cut()
        self.mend()

    def hold_at(self, mark: bytes, *, count: int = 1) -> None:
        """Hold what a client sends from the ``count``-th ``mark`` on."""
        with self._moved:
            self._request_mark = _Mark(mark, count, is_behind=False)

    def hold_replies_to(self, mark: bytes) -> None:
        """Pass ``mark`` on, and hold whatever the servers say from then on."""
        with self._moved:
            self._reply_mark = _Mark(mark, 1, is_behind=True)

    def wait_held(self) -> None:
        """Until bytes are held. With ``hold_replies_to``: until a server's reply is."""
        with self._moved:
            if not self._moved.wait_for(lambda: bool(self._holding), DEADLINE_S):
                raise ProxyError("nothing came by that was to be held")

    def hang_up_clients(self) -> None:
        """Clients find their connections broken; what they have sent, and is held, can still be delivered."""
        for line in self._all_lines():
            line.hang_up_client()

    def deliver(self) -> None:
        """Pass on what is held."""
        with self._moved:
            self._release()

    # --- what passes -------------------------------------------------------------------------------------------------

    def _passing(self, line: _Line, data: bytes, *, is_request: bool) -> list[bytes]:
        """The pieces of ``data`` to pass on, after everything that they have to wait for."""
        with self._moved:
            if self._is_cut:
                return []
            if self._is_hung or (self._are_replies_held and not is_request):
                return self._hold(line, is_request, data)
            if is_request and self._reply_mark is not None and self._reply_mark.find(data) is not None:
                self._reply_mark, self._are_replies_held = None, True
            if is_request and self._request_mark is not None:
                at = self._request_mark.find(data)
                if at is not None:
                    self._request_mark = None
                    if at:
                        line._ends[1].sendall(data[:at])
                    return self._hold(line, is_request, data[at:])
            return [data]

    def _hold(self, line: _Line, is_request: bool, data: bytes) -> list[bytes]:
        generation = self._generation
        self._holding.add((line, is_request))
        self._moved.notify_all()
        self._moved.wait_for(lambda: self._generation != generation)
        self._holding.discard((line, is_request))
        return [] if self._are_dropped else [data]

    def _release(self) -> None:
        self._generation += 1
        self._are_replies_held = False
        self._request_mark = self._reply_mark = None
        self._moved.notify_all()

    def _all_lines(self) -> list[_Line]:
        with self._moved:
            return list(self._lines)


def _socket(address: Address) -> socket.socket:
    return socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)


def _shut(end: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(how)

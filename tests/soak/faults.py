"""What goes wrong, at random by a seed, one thing after the other; and why a writer did not reach the server."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis
from django.core.management import call_command

from example_project.embedded import EmbeddedValkey
from tests.faults.proxy import Proxy
from tests.soak.acts import sql
from tests.soak.fleet import CACHEASIDE
from tests.soak.writer import DEADLY

CUT_OFF = "cut off alone"
"""The table's row: Redis unreachable for one writer only, while others reach it."""

AWAY = "away for all"
"""The table's rows: Redis unreachable for all, or restarted. The commit was sent in that time."""

BACK = "back, not noticed"
"""The server had come back for all, and the writer's circuit was still open."""

HUNG_UP = "hung up on"
"""CLIENT KILL: a writer that is hung up on twice in a row takes the server for unreachable."""

BUSY = "busy machine"
"""No fault of ours was near: the server did not answer in time."""

INTENT_S = float(CACHEASIDE["INTENT"])

ECHO_S = 5.0
"""For how long after a fault a circuit may still be open because of it, in seconds."""

EVICT = """
if redis.call('TYPE', KEYS[1]).ok == 'hash' then return redis.call('DEL', KEYS[1]) end
local raw = redis.call('GET', KEYS[1])
if raw and string.sub(raw, 1, 2) ~= '\\202W' then return redis.call('DEL', KEYS[1]) end
return 0
"""

END_CONNECTION = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted LIMIT 1"
"""Only writers hold such locks."""


@dataclass
class Window:
    """When a fault began and ended, what it was, and which writer it was about; None for all."""

    cause: str
    name: str
    writer: int | None
    began_s: float
    ended_s: float = float("inf")


@dataclass
class Faults:
    """What can go wrong.

    Args:
        lines: To the server, by the process that uses it: ``("reader", 0)``.
        replace_writer: Reaps a writer that is dead and begins another one in its place.
        kill_writer: Kills a writer, at a failpoint if one is named.
    """

    rng: random.Random
    valkey: EmbeddedValkey
    lines: dict[tuple[str, int], Proxy]
    kill_writer: Callable[[int, str], None]
    replace_writer: Callable[[int], None]
    windows: list[Window] = field(default_factory=list)

    def one(self) -> None:
        """The next fault, from its beginning to its end."""
        (fault,) = self.rng.choices(FAULTS, LIKELY)
        fault(self)

    def why(self, writer: int, sent_s: float) -> str:
        """Why a writer did not reach the server when it sent a COMMIT."""
        near = [
            window
            for window in self.windows
            if window.cause and window.began_s <= sent_s <= window.ended_s + ECHO_S and window.writer in (None, writer)
        ]
        if not near:
            return BUSY
        last = max(near, key=lambda window: window.began_s)
        return BACK if last.cause == AWAY and sent_s > last.ended_s else last.cause

    def has_lost_intents(self, sent_s: float, acked_s: float) -> bool:
        """Can the intents of a COMMIT have been lost on its way? Otherwise its release must find them."""
        return acked_s - sent_s > INTENT_S or any(
            began_s <= acked_s and ended_s >= sent_s for began_s, ended_s in self.away
        )

    @property
    def away(self) -> list[tuple[float, float]]:
        """When nobody reached the server."""
        return [(window.began_s, window.ended_s) for window in self.windows if window.cause == AWAY]

    @property
    def counts(self) -> Counter[str]:
        """How many there were of each kind."""
        return Counter(window.name for window in self.windows)

    @contextmanager
    def window(self, name: str, cause: str = "", writer: int | None = None) -> Iterator[None]:
        """Note a fault."""
        window = Window(cause, name, writer, time.monotonic())
        self.windows.append(window)
        try:
            yield
        finally:
            window.ended_s = time.monotonic()

    @contextmanager
    def server(self) -> Iterator[redis.Redis]:
        """Past every line."""
        with redis.Redis.from_url(self.valkey.url, socket_timeout=5, single_connection_client=True) as client:
            yield client

    def wait(self, least_s: float, most_s: float) -> None:
        time.sleep(self.rng.uniform(least_s, most_s))

    def signal(self, number: signal.Signals) -> None:
        assert self.valkey.pid is not None
        os.kill(self.valkey.pid, number)


def cut_or_hang(faults: Faults) -> None:
    """One process's line breaks, or takes everything and delivers it late."""
    who = faults.rng.choice(sorted(faults.lines))
    how = faults.rng.choice(("cut", "hang"))
    line = faults.lines[who]
    is_writer = who[0] == "writer"
    with faults.window(f"{how} {who[0]}", CUT_OFF if is_writer else "", who[1] if is_writer else None):
        getattr(line, how)()
        faults.wait(0.2, 2.0)
        line.mend()


def break_lines(faults: Faults) -> None:
    """One process has to connect again."""
    who = faults.rng.choice(sorted(faults.lines))
    is_writer = who[0] == "writer"
    with faults.window(f"break {who[0]}", CUT_OFF if is_writer else "", who[1] if is_writer else None):
        faults.lines[who].break_lines()


def freeze(faults: Faults) -> None:
    """Longer than every time-out; what was sent to it arrives when it goes on."""
    with faults.window("freeze", AWAY):
        faults.signal(signal.SIGSTOP)
        faults.wait(0.6, 1.5)
        faults.signal(signal.SIGCONT)


def restart_empty(faults: Faults) -> None:
    with faults.window("restart empty", AWAY):
        faults.signal(signal.SIGKILL)
        faults.wait(0.0, 0.8)
        faults.valkey.restart()


def restart_from_older(faults: Faults) -> None:
    """From a snapshot that is older than the last writes."""
    with faults.server() as client:
        client.save()
    faults.wait(0.1, 1.0)
    with faults.window("restart from older RDB", AWAY):
        faults.signal(signal.SIGKILL)
        faults.wait(0.0, 0.8)
        faults.valkey.restart(keep_dump=True)


def kill_writer(faults: Faults) -> None:
    writer = faults.rng.choice([number for kind, number in sorted(faults.lines) if kind == "writer"])
    failpoint = faults.rng.choice(("", *DEADLY))
    with faults.window(f"kill writer {failpoint or 'anywhere'}"):
        faults.kill_writer(writer, failpoint)
        faults.wait(0.0, 0.5)
        faults.replace_writer(writer)


def kill_cut_off_writer(faults: Faults) -> None:
    """It dies before it can tell; only the journal knows what it wrote."""
    writer = faults.rng.choice([number for kind, number in sorted(faults.lines) if kind == "writer"])
    line = faults.lines["writer", writer]
    with faults.window("kill cut-off writer", CUT_OFF, writer):
        line.cut()
        faults.wait(0.1, 0.6)
        faults.kill_writer(writer, "")
        line.mend()
        faults.replace_writer(writer)


def end_connection(faults: Faults) -> None:
    """A writer loses its connection to the database: whether its COMMIT happened is unknown to it."""
    with faults.window("end database connection"):
        end_s = time.monotonic() + 0.5
        while not sql(END_CONNECTION) and time.monotonic() < end_s:
            time.sleep(0.001)


def script_flush(faults: Faults) -> None:
    with faults.window("SCRIPT FLUSH"), faults.server() as client:
        client.script_flush()


def evict(faults: Faults) -> None:
    """The server loses whatever it likes, except intents."""
    with faults.window("evict"), faults.server() as client:
        evicting = client.register_script(EVICT)
        end_s = time.monotonic() + faults.rng.uniform(0.2, 1.0)
        while time.monotonic() < end_s:
            key = client.randomkey()
            if key is not None:
                evicting(keys=[key])
            time.sleep(0.002)


def client_kill(faults: Faults) -> None:
    with faults.window("CLIENT KILL", HUNG_UP), faults.server() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def flush(faults: Faults) -> None:
    with faults.window("cacheaside flush"):
        call_command("cacheaside", "flush", "soak", verbosity=0)


FAULTS: tuple[Callable[[Faults], None], ...] = (
    cut_or_hang,
    break_lines,
    freeze,
    restart_empty,
    restart_from_older,
    kill_writer,
    kill_cut_off_writer,
    end_connection,
    script_flush,
    evict,
    client_kill,
    flush,
)
LIKELY = (6, 1, 2, 2, 2, 5, 1, 3, 1, 2, 1, 1)

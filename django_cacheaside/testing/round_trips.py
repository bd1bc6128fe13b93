"""How often the cache server is asked, and what."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from django_cacheaside.orm import runtime
from django_cacheaside.store.pool import Command, Pool
from django_cacheaside.store.scripts import ALL_SCRIPTS, ANNOUNCE, WITHDRAW
from django_cacheaside.store.store import Store
from django_cacheaside.testing.commit_work import settle

MOST_KEYS = 6
"""Keys of one command that a message shows."""

_NAMES = {script.sha: script.name for script in ALL_SCRIPTS}
_BY_THE_CLOCK = {ANNOUNCE.sha, WITHDRAW.sha}


@dataclass(frozen=True)
class RoundTrips:
    """What was sent inside a block: a line for each round trip, with the commands and their keys."""

    lines: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def __str__(self) -> str:
        return "\n".join(f"  {number}. {line}" for number, line in enumerate(self.lines, 1)) or "  none"


_open: ContextVar[tuple[RoundTrips, ...]] = ContextVar("cacheaside_round_trips", default=())
_watched: Counter[Store] = Counter()
_lock = threading.Lock()


@contextmanager
def assert_round_trips(expected: int) -> Iterator[RoundTrips]:
    """Fail unless the block makes so many round trips to the cache server.

        with assert_round_trips(1):
            Product.cached.in_bulk([1, 2, 3])

    A pipeline is one round trip. Those of this thread or task count, and of what it awaits; other threads' don't. Nor
    does what happens once per connection or server: INFO, and sending a script that the server did not know; nor what
    happens each half second: a look at how other processes make their keys. Write inside ``commit_work()`` or a
    ``TransactionTestCase``: elsewhere nothing is committed, and nothing sent.

    Args:
        expected: How many.

    Returns:
        ``RoundTrips``, which says what was sent.

    Raises:
        AssertionError: There were more or fewer; the message lists them, with their keys.
        RuntimeError: The settings changed inside the block, and the connections with them.
    """
    settle()
    store = runtime.current().store
    made = RoundTrips()
    _watch(store)
    token = _open.set((*_open.get(), made))
    try:
        yield made
        settle()
    finally:
        _open.reset(token)
        _unwatch(store)
    if runtime.current().store is not store:
        raise RuntimeError(
            "The settings changed inside assert_round_trips(), and not all round trips were counted. "
            "Enter it inside override_settings()."
        )
    if len(made) != expected:
        raise AssertionError(f"{_times(len(made))} to the cache server, expected {expected}:\n{made}")


@contextmanager
def uncounted() -> Iterator[None]:
    """What an assertion asks the server itself does not count."""
    token = _open.set(())
    try:
        yield
    finally:
        _open.reset(token)


class _WatchedPool:
    """Stands between a store and its pool while a block is open: nothing is added to a hit otherwise."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.close = pool.close

    def call(self, command: Command) -> tuple[bytes, Any]:
        _tell([command])
        return self.pool.call(command)

    def pipeline(self, commands: Sequence[Command]) -> tuple[bytes, list[Any]]:
        _tell(commands)
        return self.pool.pipeline(commands)


def _tell(commands: Sequence[Command]) -> None:
    # EVAL repeats what a server could not run by its hash: the first test of a run would count one more
    if any(command[0] != "EVAL" and command[1] not in _BY_THE_CLOCK for command in commands):
        line = ", ".join(map(_described, commands))
        for made in _open.get():
            made.lines.append(line)


def _watch(store: Store) -> None:
    with _lock:
        if not _watched[store]:
            store._pool = cast("Pool", _WatchedPool(store._pool))
        _watched[store] += 1


def _unwatch(store: Store) -> None:
    with _lock:
        _watched[store] -= 1
        if not _watched[store]:
            del _watched[store]
            store._pool = cast("_WatchedPool", store._pool).pool


def _described(command: Command) -> str:
    name, *arguments = command
    if name == "EVALSHA":
        sha, count, *arguments = arguments
        name, keys = _NAMES[sha], arguments[:count]
    else:
        keys = arguments if name == "MGET" else arguments[:1]
    shown = " ".join(map(str, keys[:MOST_KEYS]))
    return f"{name} {shown}" + (f" … and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else "")


def _times(count: int) -> str:
    return f"{count} round trip{'' if count == 1 else 's'}"

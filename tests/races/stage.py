"""A stage for races: actors on threads of their own, held at failpoints until the other side has passed.

    reader = stage.act(lambda: version(pk), hold_at=["before-fill"])     returns when the reader has loaded the row
    stage.run(lambda: bump(pk))                                          a whole writer passes meanwhile
    assert reader.finish() == 0                                          the reader goes on to its end

Nothing sleeps: whoever waits, waits for an event, and no longer than ``DEADLINE_S``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Generic, TypeVar

from django.db import connections
from typing_extensions import Self

from django_cacheaside.failpoints import armed

T = TypeVar("T")

DEADLINE_S = 10.0
"""How long anybody waits for anybody, in seconds. Longer than any step here takes on a busy machine."""


class StageError(Exception):
    """The play did not go as written: not an ``AssertionError``, so that no mutant can pass by it."""


class Actor(Generic[T]):
    """A function on a thread of its own, with database connections of its own.

    Args:
        play: What it does.
        hold_at: The failpoints at which it stops, one after the other, each time until ``go_on``.
        raising: What it raises at a failpoint instead of going on.
    """

    def __init__(self, play: Callable[[], T], hold_at: Iterable[str], raising: dict[str, BaseException]) -> None:
        self._play = play
        self._stops = list(hold_at)
        self._raising = dict(raising)
        self._moved = threading.Condition()
        self._held: str | None = None
        self._is_done = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self.selects = 0
        """SELECTs that its connections have sent."""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def ident(self) -> int | None:
        return self._thread.ident

    def _run(self) -> None:
        with ExitStack() as stack:
            for alias in connections:
                stack.enter_context(connections[alias].execute_wrapper(self._count))
            try:
                self._result = self._play()
            except BaseException as error:
                self._error = error
            finally:
                connections.close_all()
                with self._moved:
                    self._is_done = True
                    self._moved.notify_all()

    def _count(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        self.selects += str(sql).lstrip().startswith("SELECT")
        return execute(sql, params, many, context)

    def reach(self, name: str) -> None:
        """Called in this actor's thread at a failpoint."""
        error = self._raising.pop(name, None)
        if error is not None:
            raise error
        with self._moved:
            if self._stops[:1] != [name]:
                return
            self._stops.pop(0)
            self._held = name
            self._moved.notify_all()
            if not self._moved.wait_for(lambda: self._held is None, DEADLINE_S):
                raise StageError(f"nobody came to fetch the actor from {name}")

    def wait_held(self) -> Self:
        """Until it stands at its next failpoint."""
        if not self.is_held():
            if isinstance(self._error, AssertionError):
                raise self._error
            raise StageError(f"the actor ended before {self._stops[:1]}: {self._error!r}") from self._error
        return self

    def is_held(self) -> bool:
        """Where it may be held or may not be: wait until it is, or has ended."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._held is not None or self._is_done, DEADLINE_S):
                raise StageError(f"the actor neither ended nor came to {self._stops[:1]}")
            return self._held is not None

    def go_on(self) -> None:
        """Let it go on from where it is held, to its next stop or its end."""
        with self._moved:
            self._held = None
            self._moved.notify_all()

    def let_go(self) -> None:
        """Let it run to its end, past all stops."""
        with self._moved:
            self._stops.clear()
        self.go_on()

    def ends_within(self, limit_s: float) -> bool:
        """Let it go; does it come to its end? For those who may hang without their guard."""
        self.let_go()
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def finish(self) -> T:
        """Let it go, and return what its function returned, or raise what that raised."""
        self.let_go()
        self._thread.join(DEADLINE_S)
        if self._thread.is_alive():
            raise StageError("the actor hangs")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


class Stage:
    """Where actors act: a context manager, at whose end nobody is left behind."""

    def __init__(self) -> None:
        self.actors: list[Actor[Any]] = []
        self._armed: set[str] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.clear()
        self._stack.close()

    def clear(self) -> None:
        """Let everybody go to the end."""
        for actor in self.actors:
            actor.let_go()
        for actor in self.actors:
            actor._thread.join(DEADLINE_S)

    def begin(
        self, play: Callable[[], T], *, hold_at: Iterable[str] = (), raising: dict[str, BaseException] | None = None
    ) -> Actor[T]:
        """Start an actor and don't wait for it."""
        stops = list(hold_at)
        for name in {*stops, *(raising or {})} - self._armed:
            self._armed.add(name)
            self._stack.enter_context(armed(name, lambda name=name: self._reach(name)))  # type: ignore[misc]
        actor = Actor(play, stops, raising or {})
        self.actors.append(actor)
        actor.start()
        return actor

    def act(self, play: Callable[[], T], *, hold_at: Iterable[str]) -> Actor[T]:
        """Start an actor; it stands at the first of ``hold_at`` when this returns."""
        return self.begin(play, hold_at=hold_at).wait_held()

    def run(self, play: Callable[[], T], **raising: BaseException) -> T:
        """A whole actor, from beginning to end. ``before_commit=error`` raises at ``before-commit``."""
        return self.begin(play, raising={name.replace("_", "-"): error for name, error in raising.items()}).finish()

    def _reach(self, name: str) -> None:
        me = threading.get_ident()
        for actor in self.actors:
            if actor.ident == me and actor._thread.is_alive():
                actor.reach(name)

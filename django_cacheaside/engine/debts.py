"""What this process has still to tell the server: COMMITs under way without intents, and epochs to move."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from django_cacheaside.clock import Clock
from django_cacheaside.engine.breaker import Probed
from django_cacheaside.failpoints import reach
from django_cacheaside.keys import KeySpace
from django_cacheaside.store.store import Store
from django_cacheaside.store.writes import Writes


@dataclass(slots=True, eq=False)
class Ticket:
    """One COMMIT under way.

    ``is_placed``: the server holds our intents; otherwise it has to be told afterwards. ``is_over``: its outcome is
    known.
    """

    writes: Writes
    token: bytes
    is_placed: bool = False
    is_over: bool = False
    placed_at_s: float = 0.0


class _Epoch:
    """An epoch to move, not before a time. Compared by identity: a later write to the model is another debt."""

    __slots__ = ("not_before_s",)

    def __init__(self, not_before_s: float) -> None:
        self.not_before_s = not_before_s


class Debts:
    """One per process. Safe to share between threads.

    Args:
        intent_ms: How long an intent stands if its writer never comes back.
    """

    def __init__(self, store: Store, clock: Clock, *, intent_ms: int) -> None:
        self._store = store
        self._clock = clock
        self._intent_ms = intent_ms
        self._lock = threading.Lock()
        self._unannounced: dict[Ticket, Writes] = {}
        self._epochs: dict[KeySpace, _Epoch] = {}
        self._said: set[KeySpace] = set()

    def begin(self, ticket: Ticket) -> None:
        """A COMMIT goes on without intents. Whoever reaches the server places them, if it is still under way then."""
        with self._lock:
            # the transaction may go on writing while a probe reads this
            self._unannounced[ticket] = ticket.writes.copy()

    def withdraw(self, ticket: Ticket) -> bool:
        """Nothing is committed under a ticket. Returns whether its intents were placed meanwhile."""
        with self._lock:
            self._unannounced.pop(ticket, None)
            ticket.is_over = True
            return ticket.is_placed

    def end(self, ticket: Ticket, *, not_before_s: float = 0.0) -> bool:
        """A COMMIT is over, or lost: without intents, its epochs are owed. Returns whether they are placed.

        Args:
            not_before_s: When its epochs may be moved: it may happen until then. 0 if its outcome is known.
        """
        with self._lock:
            self._unannounced.pop(ticket, None)
            ticket.is_over = not not_before_s
            if not ticket.is_placed:
                self._owe(ticket.writes, not_before_s)
            return ticket.is_placed

    def owe(self, writes: Writes) -> None:
        """The epochs of what was written must move."""
        with self._lock:
            self._owe(writes, 0.0)

    def _owe(self, writes: Writes, not_before_s: float) -> None:
        for space in writes.spaces():
            older = self._epochs.get(space)
            self._epochs[space] = _Epoch(max(older.not_before_s, not_before_s) if older else not_before_s)

    def owed(self) -> list[KeySpace]:
        """The models whose epochs are still to be moved."""
        with self._lock:
            return list(self._epochs)

    def unsaid(self, ticket: Ticket) -> list[str]:
        """Which of its models' unannounced writes were not spoken of since everything was paid."""
        with self._lock:
            unsaid = ticket.writes.spaces() - self._said
            self._said |= unsaid
        return sorted(space.label for space in unsaid)

    def pay(self) -> Probed:
        """Probe the server, and tell it all that it can be told now. Two round trips, and one per COMMIT under way.

        Raises:
            StoreUnavailableError: It does not answer, or takes no writes. What it was told before that, it knows.
        """
        with self._lock:
            now_s = self._clock.monotonic_s()
            due = {space: epoch for space, epoch in self._epochs.items() if epoch.not_before_s <= now_s}
        self._store.flush(due)  # a full server still takes deletes, and others wait for them
        run = self._store.probe()
        with self._lock:
            for space, epoch in due.items():
                if self._epochs.get(space) is epoch:
                    del self._epochs[space]
            under_way = list(self._unannounced.items())
        for ticket, writes in under_way:
            self._place_late(ticket, writes)
        with self._lock:
            is_paid = not (self._epochs or self._unannounced)
            if is_paid:
                self._said.clear()
            return Probed(run, is_paid)

    def _place_late(self, ticket: Ticket, writes: Writes) -> None:
        """Its COMMIT may take long, and others are served again soon."""
        self._store.place_intents(writes, ticket.token, intent_ms=self._intent_ms)
        reach("late-intent")
        with self._lock:
            if self._unannounced.pop(ticket, None) is not None:
                ticket.is_placed = True  # whoever settles the ticket releases them
                return
        if ticket.is_over:  # while we placed them; otherwise it may happen yet, and they run out
            self._store.release(writes, ticket.token)

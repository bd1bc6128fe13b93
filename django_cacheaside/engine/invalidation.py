"""Around one COMMIT: intents before, release after, and what happens when the server can't be told.

Whoever commits calls ``before`` and then exactly one of ``committed``, ``failed`` and ``unknown``. None of them
raises an Exception: a write is never lost because the cache is away.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from django_cacheaside.clock import Clock
from django_cacheaside.engine.agreement import Agreements
from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.engine.tally import Event, Tally
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.failpoints import reach
from django_cacheaside.keys import KeySpace
from django_cacheaside.store.store import Store, new_token
from django_cacheaside.store.writes import Writes

logger = logging.getLogger("django_cacheaside")


@dataclass(slots=True)
class Ticket:
    """One COMMIT under way. ``is_placed``: the server holds our intents; otherwise it has to be told afterwards."""

    writes: Writes
    token: bytes
    is_placed: bool
    placed_at_s: float


class _Debt:
    """An epoch to move, not before a time. Compared by identity: a later write to the model is another debt."""

    __slots__ = ("not_before_s",)

    def __init__(self, not_before_s: float) -> None:
        self.not_before_s = not_before_s


class Invalidator:
    """Tells the server what is written. One per process; holds what the server could not be told yet.

    Args:
        agreements: Those who make their keys otherwise must know of us before we write.
        intent_ms: How long an intent stands if its writer never comes back. Longer than any COMMIT takes.
    """

    def __init__(self, store: Store, agreements: Agreements, clock: Clock, *, intent_ms: int) -> None:
        self._store = store
        self._agreements = agreements
        self._clock = clock
        self._intent_ms = intent_ms
        self._lock = threading.Lock()
        self._uncommitted = 0
        self._is_reached = False
        """Does the server answer, and the circuit stay open for our debts alone?"""
        self._owed: dict[KeySpace, _Debt] = {}
        self._said: set[KeySpace] = set()
        self.breaker = Breaker(clock, self._pay)
        self.tally = Tally()

    def before(self, writes: Writes) -> Ticket:
        """Just before COMMIT is sent: place the intents. One round trip."""
        ticket = Ticket(writes, new_token(), is_placed=False, placed_at_s=self._clock.monotonic_s())
        self.tally.add(Event.INVALIDATED_ROW, sum(len(idents) for _, idents in writes.row_groups()))
        self.tally.add(Event.INVALIDATED_MODEL, len(writes.models))
        try:
            reach("before-intent")
            # while the circuit is open for our debts alone, what is announced is none more
            if self.breaker.lets_through() or self._is_reached:
                self._agreements.before_commit(writes)
                self._place(ticket)
            reach("after-intent")
        except Exception as error:  # noqa: BLE001  a commit never fails because of the cache: told afterwards instead
            self._is_reached = False
            self.breaker.open(error)
        if not ticket.is_placed:
            self._keep_open(ticket)
        return ticket

    def _place(self, ticket: Ticket) -> None:
        """Place the intents, again if placing took so long that the first of them might not outlast the COMMIT."""
        for _ in range(2):
            ticket.placed_at_s = self._clock.monotonic_s()
            self._store.place_intents(ticket.writes, ticket.token, intent_ms=self._intent_ms)
            if self._clock.monotonic_s() - ticket.placed_at_s < self._intent_ms / 4000:
                break
        else:
            raise StoreUnavailableError(f"placing intents took longer than a quarter of INTENT ({self._intent_ms} ms)")
        ticket.is_placed = True

    def _keep_open(self, ticket: Ticket) -> None:
        """The commit goes on without intents: no hit in this process until the epochs have moved, after the COMMIT."""
        written = ticket.writes.spaces()
        with self._lock:
            self._uncommitted += 1
            unsaid = written - self._said
            self._said |= written
        self.breaker.open("a write could not announce itself")
        self.tally.add(Event.LOST_INVALIDATION)
        if unsaid:
            logger.warning(
                "Writes to %s are committed without the cache server knowing. This process tells it as soon as it "
                "answers; until then other processes may serve the old rows.",
                ", ".join(sorted(space.label for space in unsaid)),
            )

    def forget(self, ticket: Ticket) -> None:
        """Nothing is written under a ticket whose intents are not placed; another one will be taken for it."""
        assert not ticket.is_placed
        self._let_go()

    def committed(self, ticket: Ticket) -> None:
        """COMMIT was acknowledged. One round trip."""
        self._settle(ticket, at="after-commit")
        reach("after-release")

    def failed(self, ticket: Ticket) -> None:
        """COMMIT surely failed: nothing was written. One round trip."""
        self._settle(ticket, at="after-failure")

    def _settle(self, ticket: Ticket, *, at: str) -> None:
        is_told = False
        try:
            reach(at)
            if ticket.is_placed:
                self.tally.add(Event.MISSING_INTENT, self._store.release(ticket.writes, ticket.token))
                is_told = True
        except Exception as error:  # noqa: BLE001  the COMMIT stands: whatever failed, the server is told later
            self.breaker.open(error)
        finally:  # an interrupt leaves its debt behind too
            if not is_told:
                self._owe(ticket.writes, not_before_s=0.0)
                self.breaker.open("an invalidation was not delivered")
            if not ticket.is_placed:
                self._let_go()

    def unknown(self, ticket: Ticket) -> None:
        """The connection was lost at COMMIT: it may happen yet.

        Placed intents run out by themselves; nothing is sent.
        """
        if not ticket.is_placed:
            self._owe(ticket.writes, not_before_s=self._clock.monotonic_s() + self._intent_ms / 1000)
            self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            self._uncommitted -= 1

    def _owe(self, writes: Writes, *, not_before_s: float) -> None:
        with self._lock:
            for space in writes.spaces():
                older = self._owed.get(space)
                self._owed[space] = _Debt(max(older.not_before_s, not_before_s) if older else not_before_s)

    def invalidate(self, writes: Writes) -> None:
        """Drop what was written by somebody who did not announce it: now, or as soon as the server answers.

        One round trip. Open commits of others stay announced.
        """
        if self.breaker.lets_through():
            try:
                self._store.release(writes, new_token())
            except StoreUnavailableError as error:
                self.breaker.open(error)
            else:
                return
        self._owe(writes, not_before_s=0.0)

    def owes(self) -> list[KeySpace]:
        """The models whose epochs this process has still to move."""
        with self._lock:
            return list(self._owed)

    def _pay(self) -> bool:
        """Move the epochs of all models that were written unannounced.

        False while a COMMIT of such a write is open. From then on commits are announced again, though nothing is served
        yet: a process that writes all the time would never be through otherwise.
        """
        with self._lock:
            now_s = self._clock.monotonic_s()
            due = {space: debt for space, debt in self._owed.items() if debt.not_before_s <= now_s}
        try:
            self._store.flush(due)  # a full server still takes deletes, and others wait for them
            self._store.probe()
        except StoreUnavailableError:
            self._is_reached = False
            raise
        with self._lock:
            for space, debt in due.items():
                if self._owed.get(space) is debt:
                    del self._owed[space]
            self._is_reached = bool(self._owed or self._uncommitted)
            if self._is_reached:
                return False
            self._said.clear()
            return True

"""Around one COMMIT: intents before, release after, and what happens when the server can't be told.

Whoever commits calls ``before`` and then exactly one of ``committed``, ``failed`` and ``unknown``. None of them
raises an Exception: a write is never lost because the cache is away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django_cacheaside.clock import Clock
from django_cacheaside.engine.agreement import Agreements
from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.engine.debts import Debts, Ticket
from django_cacheaside.engine.tally import Event, Tally
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.failpoints import reach
from django_cacheaside.keys import KeySpace
from django_cacheaside.store.store import Store, new_token
from django_cacheaside.store.writes import Writes

logger = logging.getLogger("django_cacheaside")


class Invalidator:
    """Tells the server what is written. One per process.

    Args:
        agreements: Those who make their keys otherwise must know of us before we write.
        breaker: Says whether the server is to be told at all. Its probe pays ``debts``.
        debts: What the server could not be told yet.
        intent_ms: How long an intent stands if its writer never comes back. Longer than any COMMIT takes.
        drop_near: Drops what this process keeps near of what it writes.
    """

    def __init__(
        self,
        store: Store,
        agreements: Agreements,
        breaker: Breaker,
        debts: Debts,
        clock: Clock,
        *,
        intent_ms: int,
        drop_near: Callable[[Writes], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._agreements = agreements
        self._debts = debts
        self._clock = clock
        self._intent_ms = intent_ms
        self._drop_near = drop_near
        self.breaker = breaker
        self.tally = Tally()
        self.written: dict[tuple[str, Event], int] = {}
        """How many rows and whole models were invalidated, by the label of their keys."""

    def before(self, writes: Writes) -> Ticket:
        """Just before COMMIT is sent: place the intents. One round trip."""
        ticket = Ticket(writes, new_token())
        self._count(writes)
        try:
            reach("before-intent")
            if self._can_announce(ticket):
                self._agreements.before_commit(writes)
                self._place(ticket)
            reach("after-intent")
        except Exception as error:  # noqa: BLE001  a commit never fails because of the cache: told afterwards instead
            if not ticket.is_placed:
                self._debts.begin(ticket)  # before anybody probes
            self.breaker.open(error)
        except BaseException:
            self._debts.withdraw(ticket)
            raise
        self._drop_near(writes)  # by now no reply can bring the old rows back: intents stand, or nothing is asked
        if not ticket.is_placed:
            self._say_unannounced(ticket)
        return ticket

    def _count(self, writes: Writes) -> None:
        for space, idents in writes.rows.items():
            self._count_of(space, Event.INVALIDATED_ROW, len(idents))
        for space in writes.models:
            self._count_of(space, Event.INVALIDATED_MODEL, 1)

    def _count_of(self, space: KeySpace, event: Event, count: int) -> None:
        if count:
            self.tally.add(event, count)
            self.written[space.label, event] = self.written.get((space.label, event), 0) + count

    def _can_announce(self, ticket: Ticket) -> bool:
        """May its intents be placed now? Otherwise it is left to whoever reaches the server first."""
        if self.breaker.lets_announce():
            return True
        reach("before-unannounced")
        self._debts.begin(ticket)
        # who has reached the server since we asked did not find the ticket
        return self.breaker.lets_announce() and not self._debts.withdraw(ticket)

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

    def _say_unannounced(self, ticket: Ticket) -> None:
        self.tally.add(Event.LOST_INVALIDATION)
        if unsaid := self._debts.unsaid(ticket):
            logger.warning(
                "Writes to %s are committed without the cache server knowing. This process tells it as soon as it "
                "answers; until then other processes that reach it may serve the old rows.",
                ", ".join(unsaid),
            )

    def forget(self, ticket: Ticket) -> None:
        """Nothing is written under a ticket; another one will be taken for it."""
        if self._debts.withdraw(ticket):  # placed late
            self.failed(ticket)

    def committed(self, ticket: Ticket) -> None:
        """COMMIT was acknowledged. One round trip."""
        self._settle(ticket, at="after-commit")
        reach("after-release")

    def failed(self, ticket: Ticket) -> None:
        """COMMIT surely failed: nothing was written. One round trip."""
        self._settle(ticket, at="after-failure")

    def _settle(self, ticket: Ticket, *, at: str) -> None:
        is_told = False
        failure: object = "an invalidation was not delivered"
        try:
            reach(at)
            if self._debts.end(ticket):
                self.tally.add(Event.MISSING_INTENT, self._store.release(ticket.writes, ticket.token))
            # else it is owed, and the circuit is open until it is paid
            is_told = True
        except Exception as error:  # noqa: BLE001  the COMMIT stands: whatever failed, the server is told later
            failure = error
        finally:  # an interrupt leaves its debt behind too
            if not is_told:
                self._debts.owe(ticket.writes)
                self._debts.end(ticket)
                self.breaker.open(failure)
            self._drop_near(ticket.writes)  # if an intent was lost, others may have filled what was replaced

    def unknown(self, ticket: Ticket) -> None:
        """The connection was lost at COMMIT: it may happen yet.

        Placed intents run out by themselves; nothing is sent.
        """
        self._debts.end(ticket, not_before_s=self._clock.monotonic_s() + self._intent_ms / 1000)

    def invalidate(self, writes: Writes) -> None:
        """Drop what was written by somebody who did not announce it: now, or as soon as the server answers.

        One round trip. Open commits of others stay announced.
        """
        if not self.breaker.lets_announce():
            self._debts.owe(writes)
            self._drop_near(writes)
            return
        try:
            self._store.release(writes, new_token())
        except StoreUnavailableError as error:
            self._debts.owe(writes)
            self.breaker.open(error)
        finally:
            self._drop_near(writes)

    def owes(self) -> list[KeySpace]:
        """The models whose epochs this process has still to move."""
        return self._debts.owed()

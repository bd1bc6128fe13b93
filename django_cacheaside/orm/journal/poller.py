"""One thread per process, and one such thread of the fleet at work: it delivers the journal of writers that died.

Started when the process first uses a database, never in a test run; a child of a fork starts its own. Elected by a
lease in Redis. Its connection to the database is closed after each look, so that it keeps none open.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from django.db import DatabaseError, connections
from django.utils import timezone

from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.orm.background import may_have_threads
from django_cacheaside.orm.journal.relay import ENTRIES_PER_BATCH, JournalRelay
from django_cacheaside.signals import journal_lagging
from django_cacheaside.store.store import Store, new_token
from django_cacheaside.threads import start_thread

logger = logging.getLogger("django_cacheaside")

LATE_S = 10.0
"""Age at delivery above which the journal is said to lag, in seconds."""

TICKS_WITHOUT_TABLE = 60
"""After a failure of the database: looks that are left out."""


def deliver(relay: JournalRelay, *, goes_on: Callable[[], bool] = lambda: True) -> int:
    """Deliver all that is due, batch by batch. Returns how many entries.

    Raises:
        StoreUnavailableError, DatabaseError: As ``JournalRelay.run_batch``.
    """
    delivered = 0
    while goes_on():
        batch = relay.run_batch()
        delivered += batch.delivered
        age_s = (timezone.now() - batch.oldest).total_seconds() if batch.oldest else 0.0
        if age_s > LATE_S:
            logger.warning("The journal of %r lags: an entry was delivered after %.0f s.", relay.alias, age_s)
            journal_lagging.send(JournalRelay, alias=relay.alias, age_s=age_s)
        if batch.delivered < ENTRIES_PER_BATCH:
            break
    return delivered


class Poller:
    """Looks into journals again and again.

    Args:
        interval_s: Between two looks; None for never.
        lease_key: A function from a database's identity to the key of the lease that elects.
    """

    def __init__(
        self, store: Store, breaker: Breaker, *, interval_s: float | None, lease_key: Callable[[str], str]
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._interval_s = interval_s
        self._lease_key = lease_key
        self._token = new_token()
        self._relays: dict[str, JournalRelay] = {}
        self._left_out: dict[str, int] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, relay: JournalRelay) -> None:
        """Look into this journal too. Starts the thread if there is none."""
        with self._lock:
            self._relays.setdefault(relay.database, relay)
            if self._interval_s is None or not may_have_threads():
                return
            if self._thread is None:
                self._thread = start_thread("relay", self._run, otherwise="The journal is left to other processes")

    def deliver_all(self) -> bool:
        """Deliver what is in the journals now, whoever wrote it, before this process serves hits again.

        Returns whether all of it is delivered: not yet if another process is at it. A journal that can't be read is
        left to the relay. Leaves no connection to a database open.

        Raises:
            StoreUnavailableError: The server did not answer.
        """
        left = [relay for relay in list(self._relays.values()) if not self._is_delivered(relay)]
        return not left

    def _is_delivered(self, relay: JournalRelay) -> bool:
        try:
            newest = relay.newest_due()
            if newest is None:
                return True
            deliver(relay, goes_on=lambda: not self._end.is_set())
            return not relay.is_due_up_to(newest)
        except DatabaseError as error:
            logger.warning("The journal of %r can't be read, hits go on all the same: %s", relay.alias, error)
            return True
        finally:
            connections[relay.alias].close()

    def close(self) -> None:
        """Look no more. The thread ends by itself."""
        self._end.set()

    def _run(self) -> None:
        assert self._interval_s is not None
        while not self._end.wait(self._interval_s * (0.75 + random.random() / 2)):  # noqa: S311  spreads the looks
            for relay in list(self._relays.values()):
                self._look(relay)

    def _look(self, relay: JournalRelay) -> None:
        if self._left_out.get(relay.database, 0):
            self._left_out[relay.database] -= 1
            return
        try:
            is_ours = self._breaker.lets_announce() and self._is_elected(relay.database)
            if is_ours and deliver(relay, goes_on=lambda: not self._end.is_set()):
                relay.clean()
        except StoreUnavailableError as error:
            self._breaker.open(error)
        except DatabaseError as error:
            self._left_out[relay.database] = TICKS_WITHOUT_TABLE
            logger.warning("The journal of %r can't be read, looking again later: %s", relay.alias, error)
        except Exception:  # a thread of ours must not die of one look
            self._left_out[relay.database] = TICKS_WITHOUT_TABLE
            logger.exception("The journal of %r could not be delivered, looking again later.", relay.alias)
        finally:
            connections[relay.alias].close()

    def _is_elected(self, database: str) -> bool:
        assert self._interval_s is not None
        life_ms = max(1000, round(3000 * self._interval_s))
        return self._store.hold(self._lease_key(database), self._token, life_ms=life_ms)

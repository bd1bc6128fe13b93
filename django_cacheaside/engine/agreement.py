"""Do all processes that use a database make its keys alike?

Two processes whose keys don't meet (another prefix, version or key function, a namespace on one side only, another
identity of the database) do not void what the other one has cached. So each says in a record in Redis how it makes its
keys, and looks at what others say:

- Who reads has looked within the last ``NOTICE_S``; where others say otherwise it goes to the database and fills
  nothing.
- Who commits has looked as well, and stays announced for as long as a COMMIT may take. If others say otherwise, and it
  announced itself within the last ``NOTICE_S``, it waits until that time is over: by then nobody serves a hit any more.
- Once the others are silent for an intent's life, hits resume, with none of the values from before.

So a row that somebody wrote past our keys is never served, unless the record is lost at the moment at which the first
of the others begins: then for ``NOTICE_S`` at most.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django_cacheaside.clock import Clock
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.store.store import Store
from django_cacheaside.store.writes import Writes

logger = logging.getLogger("django_cacheaside")

NOTICE_S = 1.0
"""How long hits are served after a look, in seconds."""

EARLY_S = 0.5
"""How long after a look one thread takes the next one, while the others are still served."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is said in one record.

    Args:
        record: The record's key, the same in every process that uses the database.
        mark: What must be equal for keys to meet.
        text: How the keys are made, for people.
    """

    record: str
    mark: str
    text: str


class Agreement:
    """Of one database, in one process. Safe to share between threads.

    Args:
        database: Its identity, as it stands in keys.
        announcements: The first one's record is the database's own: its generation seals the values.
        intent_ms: How long a COMMIT may take.

    Attributes:
        due_s: When the next look is due; before that there is nothing to ask.
    """

    def __init__(
        self, store: Store, clock: Clock, database: str, announcements: Sequence[Announcement], *, intent_ms: int
    ) -> None:
        self._store = store
        self._clock = clock
        self._database = database
        self._announcements = announcements
        self._life_ms = intent_ms + round(3000 * NOTICE_S)
        self._lock = threading.Lock()
        self._look_at_s = self._good_until_s = self._noticed_at_s = float("-inf")
        self._foreign: dict[str, str] = {}
        self.due_s = float("-inf")

    @property
    def is_contested(self) -> bool:
        """Did others say otherwise when we looked last?"""
        return bool(self._foreign)

    def holds(self) -> bool:
        """May hits be served, and misses filled? One round trip if a look is due, none otherwise.

        Raises:
            StoreUnavailableError: The server did not answer: nobody knows.
        """
        now_s = self._clock.monotonic_s()
        if now_s < self._look_at_s:
            return not self._foreign
        if not self._lock.acquire(blocking=now_s >= self._good_until_s):
            return not self._foreign  # another thread is looking, and what was seen last still counts
        try:
            if self._clock.monotonic_s() >= self._look_at_s:
                self._look()
        finally:
            self._lock.release()
        return not self._foreign

    def before_commit(self) -> None:
        """Let nobody serve what is about to be replaced under other keys than its own.

        Raises:
            StoreUnavailableError: The server did not answer: nobody can be told.
        """
        if not self.holds() and (wait_s := self._noticed_at_s - self._clock.monotonic_s()) > 0:
            self._clock.sleep_s(wait_s)

    def withdraw(self) -> None:
        """This process makes its keys otherwise from now on. As far as the server can be told."""
        if self._good_until_s > float("-inf"):
            for said in self._announcements:
                self._store.withdraw(said.record, said.mark)

    def look(self) -> None:
        """Look now: for ``EARLY_S`` none is due. One round trip."""
        with self._lock:
            self._look()

    def _look(self) -> None:
        began_s = self._clock.monotonic_s()
        # while our last announcement counts, nobody else can have come and gone again without a trace
        is_kept = not self._foreign and began_s < self._good_until_s - NOTICE_S + self._life_ms / 1000
        had = self._store.generations.of(self._database) if is_kept else ""
        heard = [
            self._store.announce(said.record, said.mark, said.text, life_ms=self._life_ms, had=had)
            for said in self._announcements
        ]
        foreign = {mark: text for one in heard for mark, text in one.others.items()}
        unheard = foreign.keys() - self._foreign.keys()
        if foreign:
            youngest_s = min(one.age_ms for one in heard) / 1000
            self._noticed_at_s = self._clock.monotonic_s() + NOTICE_S - youngest_s
        else:
            self._store.generations.begin(self._database, heard[0].generation)
        was_contested, self._foreign = self.is_contested, foreign
        self._look_at_s, self._good_until_s = began_s + EARLY_S, began_s + NOTICE_S
        self.due_s = float("-inf") if foreign else self._look_at_s
        if unheard:
            self._report([foreign[mark] for mark in sorted(unheard)])
        elif was_contested and not foreign:
            logger.warning(
                "All processes make the keys of %r alike again: it is served from the cache.", self._database
            )

    def _report(self, foreign: Iterable[str]) -> None:
        logger.error(
            "Processes that use the database %r make its keys differently. This one: %s. Others: %s. They don't "
            "invalidate each other's rows, so none of them serves the database from the cache, until for %.0f s only "
            "one kind has been at work. Give all of them the same KEY_PREFIX, VERSION and KEY_FUNCTION of the cache "
            "alias, and the same NAMESPACE and DATABASES of CACHEASIDE.",
            self._database,
            self._announcements[0].text,
            "; ".join(foreign),
            self._life_ms / 1000,
        )


class Agreements:
    """Those of all databases that this process has used, by their identity."""

    def __init__(self, store: Store, clock: Clock, *, intent_ms: int) -> None:
        self._store = store
        self._clock = clock
        self._intent_ms = intent_ms
        self._agreements: dict[str, Agreement] = {}
        self.get = self._agreements.get
        """The agreement of a database; None for one that no other process can use."""

    def join(self, database: str, announcements: Sequence[Announcement]) -> None:
        """This process uses a database. Nothing is sent yet."""
        if database not in self._agreements:
            self._agreements[database] = Agreement(
                self._store, self._clock, database, announcements, intent_ms=self._intent_ms
            )

    def all(self) -> list[Agreement]:
        """Those of every database that other processes can use."""
        return list(self._agreements.values())

    def before_commit(self, writes: Writes) -> None:
        """As ``Agreement.before_commit``, for each database that is written."""
        for database in {space.database for space in writes.spaces()}:
            agreement = self.get(database)
            if agreement is not None:
                agreement.before_commit()

    def withdraw(self) -> None:
        """As ``Agreement.withdraw``, for all; who can't be told finds out when the announcements run out."""
        try:
            for agreement in self.all():
                agreement.withdraw()
        except StoreUnavailableError:
            logger.debug("What this process announced stands until it runs out.")

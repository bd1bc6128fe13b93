"""From the journal to the cache server: what was written without its knowing is voided now.

An entry is visible once its transaction is committed, and that is when its keys may be voided: as for any write that
nobody announced. Delivering one twice costs two loads, so an entry is deleted after it was delivered, never before.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError, connections, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from django_cacheaside.failpoints import reach
from django_cacheaside.keys import KeySpace, MakeKey
from django_cacheaside.orm.journal.payload import UnreadableEntryError, unpack, unpack_spaces
from django_cacheaside.store.store import Store, new_token
from django_cacheaside.store.writes import Writes

if TYPE_CHECKING:
    from django_cacheaside.orm.journal.table import JournalEntry

logger = logging.getLogger("django_cacheaside")

ENTRIES_PER_BATCH = 100
KEPT_ASIDE = timedelta(days=7)
"""How long an entry that could not be read is kept for people to look at."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """What one batch did: entries delivered, those of them set aside, and when the oldest was recorded."""

    delivered: int
    set_aside: int
    oldest: datetime | None


class JournalRelay:
    """Delivers the journal of one database.

    Args:
        alias: By which it is written to.
        database: Its identity, as it stands in keys.
    """

    def __init__(self, store: Store, alias: str, database: str, make_key: MakeKey) -> None:
        self.alias = alias
        self.database = database
        self._store = store
        self._make_key = make_key

    def run_batch(self) -> Relayed:
        """Deliver up to ``ENTRIES_PER_BATCH`` entries that nobody else is delivering, the oldest first.

        One transaction of two or three statements, one round trip to the server.

        Raises:
            StoreUnavailableError: The server did not answer: all of them stay.
            DatabaseError: There is no table, or the database is at fault.
        """
        from django_cacheaside.orm.journal.table import JournalEntry  # models can't be imported before apps are loaded

        entries = JournalEntry.objects.using(self.alias)
        connection = connections[self.alias]
        with transaction.atomic(using=self.alias):
            due = self._due().order_by("pk")
            if connection.features.has_select_for_update_skip_locked:
                due = due.select_for_update(skip_locked=True)
            batch = list(due[:ENTRIES_PER_BATCH])
            if not batch:
                return Relayed(0, 0, None)
            writes, aside = Writes(), {}
            for entry in batch:
                written, failure = self._read(bytes(entry.keys), entry.spaces)
                writes.absorb(written)
                if failure:
                    aside[entry.pk] = failure
            self._store.release(writes, new_token())
            reach("after-relay")
            entries.filter(pk__in=[entry.pk for entry in batch if entry.pk not in aside]).delete()
            for pk, failure in aside.items():
                logger.error("Journal entry %s of %r was set aside: %s.", pk, self.alias, failure)
                entries.filter(pk=pk).update(failure=failure)
        return Relayed(len(batch), len(aside), min(entry.recorded_at for entry in batch))

    def _due(self) -> QuerySet[JournalEntry]:
        from django_cacheaside.orm.journal.table import JournalEntry

        is_due = Q(due_at=None) | Q(due_at__lte=timezone.now())
        return JournalEntry.objects.using(self.alias).filter(is_due, failure="")

    def newest_due(self) -> int | None:
        """The primary key of the newest entry that is to be delivered. One statement."""
        return self._due().order_by("-pk").values_list("pk", flat=True).first()

    def is_due_up_to(self, pk: int) -> bool:
        """Is that entry, or an older one, not delivered yet, or by somebody else right now? One statement."""
        return self._due().filter(pk__lte=pk).exists()

    def _read(self, keys: bytes, spaces: str) -> tuple[Writes, str]:
        """What an entry says was written, and why it can't be read, if so: then all that it may be."""
        try:
            return unpack(keys, self._space), ""
        except UnreadableEntryError as error:
            return unpack_spaces(spaces, self._space), f"its keys can't be read ({error}); {spaces} was dropped"

    def clean(self) -> int:
        """Delete entries that were set aside long ago. Returns how many. One statement."""
        from django_cacheaside.orm.journal.table import JournalEntry

        old = JournalEntry.objects.using(self.alias).exclude(failure="")
        return old.filter(recorded_at__lt=timezone.now() - KEPT_ASIDE)._raw_delete(self.alias)

    def is_possible(self) -> bool:
        """Is there a table? Asks the database."""
        try:
            from django_cacheaside.orm.journal.table import JournalEntry

            names = connections[self.alias].introspection.table_names()
        except DatabaseError:
            return False
        return JournalEntry._meta.db_table in names

    def _space(self, label: str) -> KeySpace:
        return KeySpace(label, self.database, self._make_key)

"""A write that drops more than it wrote: a cost, never a stale row. Counted by its reason, logged once a call site."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from enum import Enum

from django_cacheaside.keys import KeySpace
from django_cacheaside.orm.net.facts import Statement, Verb
from django_cacheaside.orm.net.tables import Reader
from django_cacheaside.store.writes import Writes

logger = logging.getLogger("django_cacheaside.dropping")

MOST_SITES = 1000

_INSIDE = ("django.", "django_cacheaside.", "contextlib")
_sites: set[tuple[str, int, str]] = set()


class Reason(str, Enum):
    """Why a whole model was dropped."""

    UNNAMED_ROWS = "the statement does not name its rows"
    PRIMARY_KEY = "primary keys were changed"
    OTHER_TABLES = "the database itself changes rows of it"
    UNREAD = "the statement is none whose rows could be told"

    @staticmethod
    def of(statement: Statement) -> Reason:
        """Why the models of a plan are dropped."""
        if statement.verb is Verb.UPDATE:
            return Reason.PRIMARY_KEY
        return Reason.OTHER_TABLES if statement.verb in (Verb.INSERT, Verb.DELETE) else Reason.UNREAD


def drop(writes: Writes, spaces: Iterable[KeySpace], readers: Iterable[Reader], reason: Reason) -> None:
    """Take the epochs of ``spaces``; count it for each model, and say it once for each place in the project's code."""
    for space in spaces:
        writes.add_model(space)
    for reader in readers:
        reader.registration.tally.add_drop(reason.value)
        if logger.isEnabledFor(logging.INFO):
            _say(reader.registration.model._meta.label, reason)


def _say(label: str, reason: Reason) -> None:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_INSIDE):
        frame = frame.f_back
    site = frame.f_code.co_filename, frame.f_lineno, label
    if site in _sites or len(_sites) >= MOST_SITES:
        return
    _sites.add(site)
    logger.info(
        "%s:%d: a write dropped all cached rows of %s: %s. Name them by primary key, or see precise_updates.",
        *site,
        reason.value,
    )

"""``on_write = "refresh"``: rows that were written are loaded again at once, so that their next reader hits.

By a read through the cache, in the background: its lease is taken after the release, so what it fills is no older than
the COMMIT. Whether it happens is a matter of speed only.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from django_cacheaside.engine.access import Access
from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.engine.fetch import Fetcher
from django_cacheaside.engine.refresh import Later
from django_cacheaside.exceptions import OtherSpellingError
from django_cacheaside.keys import KeySpace
from django_cacheaside.orm.rows import RowSource
from django_cacheaside.store.writes import Writes

MOST_ROWS = 1000
"""Rows of one model in one commit above which they are left to their readers."""


class WrittenRows:
    """Who loads them again. One per process; safe to share between threads.

    Args:
        breaker: While it is open nothing is loaded: nothing could be filled.
        later: Where it happens.
    """

    def __init__(self, fetcher: Fetcher, breaker: Breaker, later: Later) -> None:
        self._fetcher = fetcher
        self._breaker = breaker
        self._later = later
        self._sources: dict[KeySpace, RowSource] = {}
        self._lock = threading.Lock()
        self._due: dict[KeySpace, set[str]] = {}
        """Rows to be loaded, of models that somebody is about to load rows of."""

    def watch(self, source: RowSource) -> None:
        """From now on its rows are loaded again when they were written."""
        self._sources[source.space] = source

    def load_again(self, writes: Writes) -> None:
        """After the release of a commit. Returns at once."""
        if not self._sources or self._breaker.is_open:
            return
        for space, idents in writes.row_groups():
            source = self._sources.get(space)
            if source is not None and len(idents) <= MOST_ROWS and self._is_first(space, idents):
                self._begin(source)

    def _is_first(self, space: KeySpace, idents: Sequence[str]) -> bool:
        """Note rows. False if a task of ours will come to them: one at a time per model.

        Two would share a load that began before the second one's COMMIT, and whose fill was refused for it.
        """
        with self._lock:
            due = self._due.get(space)
            if due is None:
                self._due[space] = set(idents)
            elif len(due) < MOST_ROWS:
                due.update(idents)
            return due is None

    def _begin(self, source: RowSource) -> None:
        if not self._later(partial(self._load, source)):
            self._forget(source.space)

    def _load(self, source: RowSource) -> None:
        with self._lock:
            idents, self._due[source.space] = self._due[source.space], set()
        pks = [pk for ident in idents if (pk := source.key.value_of_ident(ident)) is not None]
        try:
            if not self._breaker.is_open:
                with suppress(OtherSpellingError):  # they are not cached
                    self._fetcher.fetch(source, pks, Access.FULL)
        except BaseException:
            self._forget(source.space)
            raise
        with self._lock:
            is_through = not self._due[source.space]
            if is_through:
                del self._due[source.space]
        if not is_through:  # behind what waits by now: a model that is written all the time must not keep the thread
            self._begin(source)

    def _forget(self, space: KeySpace) -> None:
        """Its rows are left to their readers."""
        with self._lock:
            self._due.pop(space, None)

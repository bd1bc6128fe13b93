"""The miss: become the one reader that fills, or wait for it, or go past it.

Look and fill enclose one SELECT: the lease is taken before it, so that a COMMIT in between voids the fill.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns
from typing import Generic

from django_cacheaside.clock import Clock
from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.engine.source import MISSING, MISSING_BODY, K, Missing, R, Sought, Source, body_of, event_of
from django_cacheaside.engine.tally import Event
from django_cacheaside.exceptions import StoreUnavailableError, UncacheableRowError, UndecodableEntryError
from django_cacheaside.failpoints import reach
from django_cacheaside.store.acts import Acquired, Claim, Filling, Own, Value, Wait
from django_cacheaside.store.envelope import HEADER_SIZE
from django_cacheaside.store.store import Store, new_token
from django_cacheaside.store.writes import Writes

SHORTEST_POLL_S, LONGEST_POLL_S = 0.002, 0.025


class Lead(Generic[K, R]):
    """One reader's attempt to load and fill rows that it missed, or serves stale.

    Args:
        fall_back: Reads rows from the database because the server is away.
        close: Called with rows just before they are filled: nobody may join their load any more.
        publish: Called with a row's place and its body if the fill was accepted: it may be shared.
    """

    def __init__(
        self,
        store: Store,
        breaker: Breaker,
        clock: Clock,
        source: Source[K, R],
        *,
        fall_back: Callable[[Sequence[K]], Mapping[K, R | Missing]],
        close: Callable[[Sequence[Sought[K]]], object],
        publish: Callable[[Sought[K], bytes], object],
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._clock = clock
        self._source = source
        self._fall_back = fall_back
        self._close = close
        self._publish = publish
        self._token = new_token()
        self.rows: dict[K, R | Missing] = {}

    def run(self, sought: Sequence[Sought[K]], bypassed: Sequence[K]) -> dict[K, R | Missing]:
        """Rows by primary key, all of them. Acquire, load, fill: three round trips, unless another reader is ahead.

        Args:
            sought: Missed rows.
            bypassed: Rows with a COMMIT open: read in the same SELECT, never filled.
        """
        waiting = self._attempt([(one, None) for one in sought], bypassed)
        if waiting:
            self._wait(waiting)
        return self.rows

    def _attempt(
        self, claimed: Sequence[tuple[Sought[K], bytes | None]], bypassed: Sequence[K] = (), *, is_last: bool = False
    ) -> list[tuple[Sought[K], bytes]]:
        """Acquire rows, load and fill those that became ours.

        Returns those that another reader holds, with its lease.
        """
        tally = self._source.tally
        past = list(bypassed)
        own: list[tuple[Sought[K], bytes]] = []
        waiting: list[tuple[Sought[K], bytes]] = []
        try:
            acquired = self._acquire(claimed)
        except StoreUnavailableError as error:
            self._breaker.open(error)
            self.rows.update(self._fall_back([*past, *(one.pk for one, _ in claimed)]))
            return []
        for (one, steal), outcome in zip(claimed, acquired, strict=True):
            if isinstance(outcome, Own):
                own.append((one, outcome.nonce))
                tally.add(Event.TAKE_OVER, steal is not None)
            elif isinstance(outcome, Wait) and not is_last:
                waiting.append((one, outcome.lease))
            elif not isinstance(outcome, Value) or not self._take(one, outcome.entry):
                tally.add(Event.COMMIT_MET)
                past.append(one.pk)
        if own:
            self._load_and_fill(own, past, leave=self._abandon)
        elif past:
            self._load_past(past)
        return waiting

    def refresh(self, sought: Sequence[Sought[K]]) -> dict[K, R | Missing]:
        """Load rows again that are served meanwhile: those that nobody else loads. Three round trips at most.

        Returns:
            The rows that were loaded, by this reader or meanwhile by another one.
        """
        try:
            acquired = self._acquire([(one, None) for one in sought])
        except StoreUnavailableError as error:
            self._breaker.open(error)
            return {}
        own: list[tuple[Sought[K], bytes]] = []
        for one, outcome in zip(sought, acquired, strict=True):
            if isinstance(outcome, Own):
                own.append((one, outcome.nonce))
            elif isinstance(outcome, Value):
                self._take(one, outcome.entry)
        if own:
            self._load_and_fill(own, [], leave=self._drop)
        return self.rows

    def _acquire(self, claimed: Sequence[tuple[Sought[K], bytes | None]]) -> list[Acquired]:
        reach("before-acquire")
        return self._store.acquire(
            self._source.space,
            [Claim(one.ident, one.entry, steal) for one, steal in claimed],
            self._token,
            run=claimed[0][0].run,
            lease_ms=self._source.policy.lease_ms,
            epoch_ms=self._source.policy.epoch_ms,
        )

    def _take(self, one: Sought[K], entry: bytes) -> bool:
        """Use what another reader filled meanwhile. Not shared: who joined us may have begun later than that fill."""
        try:
            is_missing = entry[1:2] == MISSING_BODY
            self.rows[one.pk] = MISSING if is_missing else self._source.decode(one.pk, entry, HEADER_SIZE)
        except UndecodableEntryError as error:
            self._source.tally.add(event_of(error))
            return False
        return True

    def _wait(self, waiting: list[tuple[Sought[K], bytes]]) -> None:
        """Poll until the other readers have filled; then take over the leases that are still the same.

        Of many who wait for a dead one, one takes over: the others wait for that one in their turn, and only then go
        past.
        """
        self._source.tally.add(Event.WAIT, len(waiting))
        for is_last in (False, True):
            held = {one.ident: lease for one, lease in waiting}
            waiting = self._poll(waiting)
            if not waiting:
                return
            waiting = self._attempt([(one, held[one.ident]) for one, _ in waiting], is_last=is_last)

    def _poll(self, waiting: list[tuple[Sought[K], bytes]]) -> list[tuple[Sought[K], bytes]]:
        """Ask again and again, for ``wait_ms`` at most. Returns those that another one holds, with its lease."""
        clock = self._clock
        deadline_s = clock.monotonic_s() + self._source.policy.wait_ms / 1000
        pause_s = SHORTEST_POLL_S
        while waiting and (left_s := deadline_s - clock.monotonic_s()) > 0:
            clock.sleep_s(min(left_s, pause_s * (0.5 + random.random())))  # noqa: S311  spreads the polls
            pause_s = min(pause_s * 1.5, LONGEST_POLL_S)
            waiting = self._attempt([(one, None) for one, _ in waiting])
        return waiting

    def _load_past(self, pks: Sequence[K]) -> None:
        found = self._source.load(pks)
        self.rows.update((pk, found.get(pk, MISSING)) for pk in pks)

    def _load_and_fill(
        self,
        own: Sequence[tuple[Sought[K], bytes]],
        past: Sequence[K],
        *,
        leave: Callable[[Sequence[Sought[K]]], None],
    ) -> None:
        """One SELECT, one fill; and ``leave`` what can't be filled."""
        source = self._source
        reach("before-load")
        began_ns = perf_counter_ns()
        try:
            self._load_past([*(one.pk for one, _ in own), *past])
        except BaseException:
            self._abandon([one for one, _ in own])
            raise
        source.tally.load_times.add(perf_counter_ns() - began_ns)
        source.tally.add(Event.LOAD, len(own))
        fillings: list[Filling] = []
        filled: list[Sought[K]] = []
        unfilled: list[Sought[K]] = []
        for one, nonce in own:
            body = self._body(one)
            if body is None:
                unfilled.append(one)
                continue
            policy, is_missing = source.policy, body == MISSING_BODY
            fresh_ms = policy.life_ms(policy.negative_ttl_ms if is_missing else policy.ttl_ms)
            life_ms = fresh_ms if is_missing else fresh_ms + policy.stale_ms
            fillings.append(Filling(one.ident, nonce, body, life_ms, fresh_ms))
            filled.append(one)
        reach("after-load")
        self._close([one for one, _ in own])
        reach("before-fill")
        if fillings:
            self._fill(filled, fillings)
        if unfilled:
            leave(unfilled)

    def _body(self, one: Sought[K]) -> bytes | None:
        """What to store of a row, or None to store nothing."""
        row = self.rows[one.pk]
        if isinstance(row, Missing) and not self._source.policy.negative_ttl_ms:
            return None
        try:
            return body_of(self._source, one.pk, row)
        except UncacheableRowError:
            self._source.tally.add(Event.UNCACHEABLE)
            return None

    def _fill(self, filled: Sequence[Sought[K]], fillings: Sequence[Filling]) -> None:
        source = self._source
        described = None if source.schemas is None else source.schemas.to_say()
        try:
            accepted = self._store.fill(
                source.space, fillings, self._token, epoch_ms=source.policy.epoch_ms, described=described
            )
        except StoreUnavailableError as error:
            self._breaker.open(error)
            return
        if source.schemas is not None and described is not None:
            source.schemas.said()
        reach("after-fill")
        for one, filling, is_accepted in zip(filled, fillings, accepted, strict=True):
            if is_accepted:
                self._publish(one, filling.body)
        source.tally.add(Event.FILL, sum(accepted))
        source.tally.add(Event.REFUSED_FILL, len(accepted) - sum(accepted))

    def _drop(self, unfilled: Sequence[Sought[K]]) -> None:
        """What is served of them is known to be old, and nothing newer can be stored."""
        writes = Writes()
        writes.add_rows(self._source.space, [one.ident for one in unfilled])
        try:
            self._store.release(writes, self._token)
        except StoreUnavailableError as error:
            self._breaker.open(error)

    def _abandon(self, unfilled: Sequence[Sought[K]]) -> None:
        try:
            self._store.abandon(self._source.space, [one.ident for one in unfilled], self._token)
        except StoreUnavailableError as error:
            self._breaker.open(error)

"""The guards, taken off one at a time: each mutant makes at least one race's assertion fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from hashlib import sha1
from typing import Any

import pytest
from django.db import transaction

from django_cacheaside.engine import breaker, debts, fetch, flight, invalidation, lead, look, refresh
from django_cacheaside.failpoints import reach
from django_cacheaside.orm import access, commit_work, connecting, reading, receivers, rows, runtime
from django_cacheaside.orm.connection_state import state_of
from django_cacheaside.orm.index.source import IndexSource
from django_cacheaside.orm.journal import poller
from django_cacheaside.orm.net import plan, wrapper
from django_cacheaside.store import envelope, scripts, store, writes

Patch = pytest.MonkeyPatch
Mutation = Callable[[Patch], None]


def mutant(mutate: Mutation) -> Callable[[], Any]:
    """A context manager inside which ``mutate`` holds."""

    @contextmanager
    def mutated() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            mutate(patch)
            yield

    mutated.__name__ = mutate.__name__
    mutated.__doc__ = mutate.__doc__
    return mutated


def rewrite(patch: Patch, name: str, *replacements: tuple[str, str]) -> None:
    """Replace parts of a script; each must be there."""
    text = getattr(scripts, name).text
    for old, new in replacements:
        assert old in text, f"{name} has no {old!r}: the mutant is out of date"
        text = text.replace(old, new)
    mutated = scripts.Script(name.lower(), text, sha1(text.encode(), usedforsecurity=False).hexdigest())
    patch.setattr(scripts, name, mutated)


# --- scripts ---------------------------------------------------------------------------------------------------------


@mutant
def fill_ignores_lease(patch: Patch) -> None:
    """Whoever has loaded may fill."""
    rewrite(patch, "FILL", ("if get(lease_key) ~= token or", "if"))


@mutant
def fill_ignores_lease_and_epoch(patch: Patch) -> None:
    """Whoever has loaded may fill, and every epoch is the same one."""
    rewrite(patch, "FILL", ("if get(lease_key) ~= token or", "if"))
    rewrite(patch, "ACQUIRE", ("nonce = string.sub(random, 1, 4)", "nonce = '00000000' --"))


@mutant
def intents_unseen(patch: Patch) -> None:
    """Readers take a write intent for a miss, and fill over it."""
    for name in ("ACQUIRE", "FILL"):
        rewrite(patch, name, ("#raw - 2) % 20 ~= 0 then return nil", "#raw - 2) % 20 ~= 0 or true then return nil"))
    patch.setattr(envelope, "is_intents", lambda raw: False)


@mutant
def release_lifts_all(patch: Patch) -> None:
    """A release takes the other writers' intents along."""
    for name in ("RELEASE", "RELEASE_ALL"):
        rewrite(patch, name, ("local latest\n  for _, deadline", "live = {}\n  local latest\n  for _, deadline"))


@mutant
def release_only_own(patch: Patch) -> None:
    """A release does nothing where it doesn't find its token."""
    rewrite(patch, "RELEASE", ("if not live then return 0, true end", "if not live then return 0, false end"))


@mutant
def no_take_over(patch: Patch) -> None:
    """A lease belongs to its reader, dead or alive."""
    rewrite(patch, "ACQUIRE", (" or lease == steal", ""))


@mutant
def epoch_unread(patch: Patch) -> None:
    """Flushing and model-wide intents leave the epoch as it is."""
    rewrite(patch, "FLUSH", ("return redis.call('DEL', KEYS[1])", "return 1"))


@mutant
def leases_are_everybodys(patch: Patch) -> None:
    """Who asks for a lease gets it."""
    rewrite(patch, "ACQUIRE", ("if not lease or #lease", "if true or #lease"))


@mutant
def everybody_refreshes(patch: Patch) -> None:
    """Each reader who meets a stale value loads it again."""
    rewrite(patch, "ACQUIRE", ("if not lease or #lease", "if true or #lease"))
    patch.setattr(refresh.Refresher, "_take", lambda self, source, stale: list(stale))


@mutant
def fill_under_dead_epoch_counts(patch: Patch) -> None:
    """What is filled under an epoch that is gone counts as accepted, and is shared."""
    rewrite(patch, "FILL", ("replies[row] = filled_under == nonce and 1 or 2", "replies[row] = 1"))


# --- writers ---------------------------------------------------------------------------------------------------------


@mutant
def no_intents(patch: Patch) -> None:
    """Invalidate after the COMMIT only."""
    patch.setattr(invalidation.Invalidator, "_place", lambda self, ticket: setattr(ticket, "is_placed", True))


@mutant
def nothing_outlasts_an_interrupt(patch: Patch) -> None:
    """Neither intents that run out by themselves, nor a debt."""
    patch.setattr(invalidation.Invalidator, "_place", lambda self, ticket: setattr(ticket, "is_placed", True))
    patch.setattr(debts.Debts, "_owe", lambda self, writes, not_before_s: None)
    patch.setattr(breaker.Breaker, "open", lambda self, reason: None)


@mutant
def no_invalidation(patch: Patch) -> None:
    """Nobody tells the server."""
    patch.setattr(invalidation.Invalidator, "_place", lambda self, ticket: setattr(ticket, "is_placed", True))
    patch.setattr(invalidation.Invalidator, "_settle", lambda self, ticket, *, at: None)


@mutant
def nobody_listens(patch: Patch) -> None:
    """Neither the net nor the signals."""
    patch.setattr(
        wrapper.Net, "__call__", lambda self, execute, sql, params, many, context: execute(sql, params, many, context)
    )
    patch.setattr(receivers, "registrations_of", lambda model: [])


@mutant
def no_commit_work(patch: Patch) -> None:
    """The write set is thrown away at COMMIT."""

    def only_commit(connection: Any, commit: Callable[[], Any], *, roll_back: object) -> Any:
        result = commit()
        state_of(connection).end_transaction()
        return result

    patch.setattr(commit_work, "around_commit", only_commit)
    patch.setattr(wrapper, "around_commit", only_commit)


@mutant
def by_on_commit_hook(patch: Patch) -> None:
    """Invalidate as most packages do: in a ``transaction.on_commit`` hook."""

    def only_commit(connection: Any, commit: Callable[[], Any], *, roll_back: object) -> Any:
        result = commit()
        state_of(connection).end_transaction()
        return result

    write = wrapper.Net.write

    def write_and_hook(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = write(self, *args, **kwargs)
        written = self._state.writes.copy()
        transaction.on_commit(lambda: commit_work.around_statement(self._connection, written, lambda: None))
        return result

    patch.setattr(commit_work, "around_commit", only_commit)
    patch.setattr(wrapper.Net, "write", write_and_hook)


@mutant
def savepoints_forget(patch: Patch) -> None:
    """A rollback to a savepoint empties the write set."""
    control = wrapper.Net._control

    def forget(self: Any, plan: Any, run: Any) -> Any:
        result = control(self, plan, run)
        self._state.writes.clear()
        return result

    patch.setattr(wrapper.Net, "_control", forget)


@mutant
def raw_transactions_unseen(patch: Patch) -> None:
    """BEGIN, COMMIT and the like are just statements."""
    patch.setattr(wrapper.Net, "_control", lambda self, plan, run: run())


@mutant
def chains_unseen(patch: Patch) -> None:
    """After COMMIT AND CHAIN there is no transaction."""
    control = wrapper.Net._control

    def forget(self: Any, plan: Any, run: Any) -> Any:
        result = control(self, plan, run)
        if plan.chains:
            self._state.is_in_raw_transaction = self._state.is_snapshot = False
        return result

    patch.setattr(wrapper.Net, "_control", forget)


@mutant
def failed_statements_unseen(patch: Patch) -> None:
    """A statement that fails is taken to leave the transaction as it was."""
    patch.setattr(wrapper.Net, "_settle_error", lambda self, plan: None)


@mutant
def cursors_unwatched(patch: Patch) -> None:
    """COPY passes by."""
    patch.setattr(connecting, "watch_cursors", lambda connection: None)


@mutant
def rows_left_in_cursor(patch: Patch) -> None:
    """The release is sent while SQLite's statement is not finished."""
    patch.setattr(wrapper, "finish", lambda cursor: None)


@mutant
def failed_commits_unsettled(patch: Patch) -> None:
    """A COMMIT that surely failed is treated as one that may yet happen."""
    patch.setattr(invalidation.Invalidator, "failed", invalidation.Invalidator.unknown)


@mutant
def unknown_commits_released(patch: Patch) -> None:
    """A COMMIT whose outcome is not known is treated as one that failed."""
    patch.setattr(invalidation.Invalidator, "unknown", invalidation.Invalidator.failed)


@mutant
def lost_announcements_forgotten(patch: Patch) -> None:
    """What the server could not be told is nobody's business."""
    patch.setattr(debts.Debts, "begin", lambda self, ticket: None)
    patch.setattr(debts.Debts, "_owe", lambda self, writes, not_before_s: None)
    patch.setattr(breaker.Breaker, "open", lambda self, reason: None)


@mutant
def interrupts_swallowed(patch: Patch) -> None:
    """An interrupt before COMMIT is treated as an error of the cache: the COMMIT goes on."""
    before = invalidation.Invalidator.before

    def swallowing(self: Any, written: Any) -> Any:
        try:
            return before(self, written)
        except BaseException:
            return debts.Ticket(written, b"no token", is_placed=True)

    def reach_and_swallow(name: str) -> None:
        with suppress(BaseException):
            reach(name)

    patch.setattr(invalidation.Invalidator, "before", swallowing)
    patch.setattr(commit_work, "reach", reach_and_swallow)


@mutant
def interrupts_forgive(patch: Patch) -> None:
    """What an interrupted process could not tell, it never tells."""
    settle = invalidation.Invalidator._settle

    def forgiving(self: Any, ticket: Any, *, at: str) -> None:
        try:
            settle(self, ticket, at=at)
        except KeyboardInterrupt:
            self._debts._epochs.clear()
            raise

    patch.setattr(invalidation.Invalidator, "_settle", forgiving)


@mutant
def circuit_never_opens(patch: Patch) -> None:
    """Every request tries the server."""
    patch.setattr(breaker.Breaker, "open", lambda self, reason: None)


@mutant
def debts_forgiven(patch: Patch) -> None:
    """The circuit closes without moving the epochs of what was written meanwhile."""
    patch.setattr(store.Store, "flush", lambda self, spaces: None)


@mutant
def nothing_made_good(patch: Patch) -> None:
    """Nor does it deliver the journal before."""
    patch.setattr(store.Store, "flush", lambda self, spaces: None)
    patch.setattr(poller.Poller, "deliver_all", lambda self: True)


@mutant
def nobody_settles(patch: Patch) -> None:
    """The circuit closes as soon as the server answers."""
    patch.setattr(runtime, "settle_s", lambda **time_outs: 0.0)


# --- readers ---------------------------------------------------------------------------------------------------------


@mutant
def transactions_unseen(patch: Patch) -> None:
    """A read inside a transaction may do what one outside may."""
    patch.setattr(reading, "access_of", lambda connection, state: fetch.Access.FULL)
    patch.setattr(writes.Writes, "covers", lambda self, space, ident: False)


@mutant
def own_writes_unseen(patch: Patch) -> None:
    """A read in a transaction doesn't ask what that transaction has written."""
    patch.setattr(writes.Writes, "covers", lambda self, space, ident: False)


@mutant
def writing_unseen(patch: Patch) -> None:
    """A transaction that has written may fill."""

    def as_if_unwritten(connection: Any, state: Any) -> Any:
        state.has_written = False
        return access.access_of(connection, state)

    patch.setattr(reading, "access_of", as_if_unwritten)


@mutant
def snapshots_unseen(patch: Patch) -> None:
    """REPEATABLE READ is READ COMMITTED."""
    patch.setattr(access, "sees_snapshot", lambda connection, state: False)


@mutant
def unfinished_cursors_unseen(patch: Patch) -> None:
    """SQLite's SELECTs are taken to see the newest rows."""
    patch.setattr(access, "has_unfinished_cursor", lambda state: False)


# --- sharing ---------------------------------------------------------------------------------------------------------


@mutant
def share_refused(patch: Patch) -> None:
    """flight.py's "naive": whatever was loaded is shared."""
    fill = lead.Lead._fill

    def fill_and_publish(self: Any, filled: Any, fillings: Any) -> None:
        fill(self, filled, fillings)
        for one, filling in zip(filled, fillings, strict=True):
            self._publish(one, filling.body)

    patch.setattr(lead.Lead, "_fill", fill_and_publish)


@mutant
def open_while_filling(patch: Patch) -> None:
    """flight.py's "accepted": the flight takes joiners until it has landed."""
    init = lead.Lead.__init__

    def never_closing(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **{**kwargs, "close": lambda loaded: None})

    patch.setattr(lead.Lead, "__init__", never_closing)


@mutant
def no_flights(patch: Patch) -> None:
    """Nobody shares."""

    def alone(self: Any, keys: Any) -> Any:
        return {key: flight.Flight() for key in keys}, {}

    patch.setattr(flight.LeasedFlights, "board", alone)


@mutant
def no_queue(patch: Patch) -> None:
    """Past the cache, everybody loads."""
    patch.setattr(flight.QueuedFlights, "load", lambda self, key, load, is_shared: load())


@mutant
def join_running(patch: Patch) -> None:
    """flight.py's "naive, no server": a load that is under way is shared."""
    load_next = flight.QueuedFlights.load

    def load_or_join(self: Any, key: str, load: Any, is_shared: Any) -> Any:
        running = self._running.get(key)
        if running is None:
            return load_next(self, key, load, is_shared=is_shared)
        flight.reach("before-join")
        return running.wait()

    patch.setattr(flight.QueuedFlights, "load", load_or_join)


@mutant
def nobody_looks_again(patch: Patch) -> None:
    """Who joined a load that could not be shared reads the database, whatever is in the cache by now."""

    def load(self: Any, source: Any, pks: Any, access: Any) -> Any:
        return self._bypass.load(source, pks)

    patch.setattr(fetch.Fetcher, "_look_again", load)


@mutant
def take_over_whoever_it_is(patch: Patch) -> None:
    """Who has waited takes over the lease that it saw last, were it a moment old, or goes past it."""

    def wait(self: Any, waiting: Any) -> None:
        waiting = self._poll(waiting)
        if waiting:
            self._attempt(waiting, is_last=True)

    patch.setattr(lead.Lead, "_wait", wait)


@mutant
def locks_wait(patch: Patch) -> None:
    """A transaction that holds a table may wait for others' loads."""
    control = wrapper.Net._control

    def forget(self: Any, plan: Any, run: Any) -> Any:
        result = control(self, plan, run)
        self._state.has_written = False
        return result

    patch.setattr(wrapper.Net, "_control", forget)


@mutant
def never_abandon(patch: Patch) -> None:
    """A load that failed keeps its lease."""
    patch.setattr(store.Store, "abandon", lambda self, space, idents, token: None)


@mutant
def no_errors_shared(patch: Patch) -> None:
    """Who joined a load that failed loads as well."""
    patch.setattr(rows, "fails_for_all", lambda error, alias, *, rows: False)


@mutant
def all_errors_shared(patch: Patch) -> None:
    """Who joined a load fails with it, whyever it failed."""
    patch.setattr(rows, "fails_for_all", lambda error, alias, *, rows: True)


# --- servers ---------------------------------------------------------------------------------------------------------


@mutant
def runs_unread(patch: Patch) -> None:
    """An entry is as good after the server's restart as before."""

    def judge(run: bytes, epoch: bytes | None, entry: bytes | None) -> envelope.Found:
        return envelope.judge(epoch[10:] if epoch else run, epoch, entry)

    patch.setattr(fetch, "judge", judge)
    patch.setattr(look, "judge", judge)
    patch.setattr(look, "value_head", lambda run, epoch: envelope.value_head(epoch[10:] if epoch else run, epoch))


# --- declared keys ---------------------------------------------------------------------------------------------------


@mutant
def no_declared_keys(patch: Patch) -> None:
    """A write voids rows, and no entry of a declared key."""
    patch.setattr(plan, "add_declared", lambda *args, **kwargs: None)
    patch.setattr(receivers, "_add_declared", lambda *args: None)


@mutant
def rows_are_not_compared(patch: Patch) -> None:
    """Whatever an entry names is what was looked up."""
    patch.setattr(IndexSource, "has_values", lambda self, row, values: True)


@mutant
def entries_are_believed(patch: Patch) -> None:
    """An entry whose row has other values now means that no row has them."""
    fetch_of = fetch.Fetcher.fetch

    def believing(self: Any, source: Any, pks: Any, access: Any, *, outdated: Any = None) -> Any:
        return fetch_of(self, source, pks, access, outdated=outdated and (lambda hits: outdated(hits) and []))

    patch.setattr(fetch.Fetcher, "fetch", believing)


@mutant
def rows_of_a_listing_are_filled(patch: Patch) -> None:
    """Rows that came with an entry's load are filled under a lease that was taken after their SELECT."""
    fetch_of = fetch.Fetcher.fetch

    def filling(self: Any, source: Any, pks: Any, access: Any, *, outdated: Any = None) -> Any:
        found = fetch_of(self, source, pks, access, outdated=outdated)
        if isinstance(source, IndexSource):
            rows = {source.pk_of(row): row for one in found.values() for row in getattr(one, "rows", None) or ()}
            unfilled = copy(source.rows)
            unfilled.load = lambda pks: {pk: rows[pk] for pk in pks}  # type: ignore[method-assign]
            fetch_of(self, unfilled, list(rows), access)
        return found

    patch.setattr(fetch.Fetcher, "fetch", filling)


@mutant
def own_declared_keys_are_served(patch: Patch) -> None:
    """A transaction that has written a model is served its declared keys from the cache."""
    patch.setattr(writes.Writes, "spaces", lambda self: set())

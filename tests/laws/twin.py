"""One model's keys twice: on a real server, driven through the store, and as ``tests.laws.model`` says they should be.

A schedule is a list of steps, each the name of a method of ``Twin`` and its arguments. After each step everything that
the server holds is mapped to the model's terms and compared. Nothing sleeps: what runs out is rewritten with a deadline
in the past.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis import ConnectionPool

from django_cacheaside.keys import KeySpace
from django_cacheaside.store import scripts
from django_cacheaside.store.acts import Acquired, Claim, Filling, Own, Value, Wait
from django_cacheaside.store.envelope import Found, judge
from django_cacheaside.store.errors import unavailable
from django_cacheaside.store.pool import Command, Pool
from django_cacheaside.store.store import Store
from django_cacheaside.store.writes import Writes
from tests.laws import model
from tests.laws.mapping import body_in, entry_in, epoch_in, intents, is_dead, lease_in, without_run
from tests.laws.steps import ROWS, STRANGER, Rows, Step

NOBODYS = (b"nobody's", b"")
"""An epoch that there never was."""

LEASE_MS = 30_000
NEW_EPOCH_MS = 20_000
LIFE_MS = 60_000
FILLED_EPOCH_MS = 90_000
INTENT_MS = 40_000
FAR_MS = 86_400_000

LOOK = """
local seen = {}
for at, key in ipairs(KEYS) do
  local raw = redis.pcall('GET', key)
  seen[2 * at - 1] = type(raw) == 'string' and raw
  seen[2 * at] = redis.call('PTTL', key)
end
return seen
"""
"""Every key and its remaining life; what is no string as nil."""


class DisagreementError(AssertionError):
    """The server's keys are not what the model says."""


class RecordingPool(Pool):
    """A pool that remembers what was sent last, so that it can be sent once more."""

    sent: Sequence[Command] = ()

    def call(self, command: Command) -> tuple[bytes, Any]:
        if command[0] == "EVALSHA":
            self.sent = [command]
        return super().call(command)

    def pipeline(self, commands: Sequence[Command]) -> tuple[bytes, list[Any]]:
        if commands and commands[0][0] == "EVALSHA":
            self.sent = commands
        return super().pipeline(commands)


class Server:
    """A store on a real server, and its pool."""

    def __init__(self, url: str) -> None:
        parameters = ConnectionPool.from_url(url)
        self.pool = RecordingPool(parameters, connect_timeout_s=2, timeout_s=5)
        self.store = Store(self.pool, probe_key="laws:probe")

    def ask(self, *commands: Command) -> list[Any]:
        """Send commands past the store, in one round trip; an error among the replies is raised as the store does."""
        _, replies = self.pool.pipeline(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise unavailable(reply)
        return replies


class Twin:
    """The keys of three rows under one epoch, on a server and in the model.

    ``found`` are the server's bytes as they were after the last step: what a reader of the step before has seen.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.store = server.store
        self.space = KeySpace("laws." + os.urandom(6).hex(), "main", str)
        self.keys = [self.space.epoch, *map(self.space.entry, ROWS), *map(self.space.lease, ROWS)]
        self.entries: dict[str, Any] = dict.fromkeys(ROWS)
        self.leases: dict[str, Any] = dict.fromkeys(ROWS)
        self.epoch: Any = None
        self.run = b"run-0000"
        self.found: dict[str, bytes | None] = dict.fromkeys(self.keys)
        self.nonces: set[bytes] = set()
        self.granted: dict[tuple[str, str], bytes] = {}
        self.planted: dict[str, bytes | None] = {}
        self.saved: tuple[Any, ...] | None = None
        self.history: list[tuple[Sequence[Command], Callable[[], None]]] = []
        self.filled = 0
        self.tidied: set[str] = set()

    def play(self, steps: Sequence[Step]) -> None:
        """Run a schedule on both sides.

        Raises:
            DisagreementError: After one of the steps they differ. The message shows the schedule up to it.
        """
        done: list[Step] = []
        try:
            for step in steps:
                done.append(step)
                getattr(self, step[0])(*step[1:])
                self.compare()
        except DisagreementError as error:
            told = "\n".join(f"    {step}" for step in done if step != ("idle",))
            raise DisagreementError(f"{error}\nafter\n{told}") from None
        finally:
            self.server.ask(("DEL", *self.keys))

    # --- the acts ----------------------------------------------------------------------------------------------------

    def idle(self) -> None:
        """Nothing: what a step that doesn't matter shrinks to."""

    def acquire(self, rows: Rows, token: str, seen: str = "", steal: str = "") -> None:
        """seen and steal: '' for none, 'found' for what is there, 'other' for what is not."""
        claims = []
        for row in rows:
            raw, holder = self.found[self.space.entry(row)], self.found[self.space.lease(row)]
            steals = {"": None, "found": holder, "other": STRANGER.encode()}[steal]
            claims.append(Claim(row, {"": None, "found": raw, "other": b"another entry"}[seen], steals))
        outcomes = self.store.acquire(
            self.space, claims, token.encode(), run=self.run, lease_ms=LEASE_MS, epoch_ms=NEW_EPOCH_MS
        )
        run = self.run

        def as_specified(outcomes: list[Acquired] | None = None) -> None:
            nonce = self._new_nonce() if model.current(self.epoch, run) is None else b"not drawn"
            for at, claim in enumerate(claims):
                steal = claim.steal.decode("latin-1") if claim.steal else None
                is_same = claim.seen is not None and claim.seen == self.found[self.space.entry(claim.ident)]
                saw = self.entries[claim.ident] if is_same else None
                after, (kind, got) = model.acquire(self._of(claim.ident), token, nonce, run, seen=saw, steal=steal)
                self._become(claim.ident, after)
                if outcomes is not None:
                    answer = (kind, got[0]) if kind == "OWN" else (kind, got)
                    self._expect(_answer(outcomes[at]), answer, f"acquire's answer for {claim.ident}")
                    if kind == "OWN":
                        self.granted[token, claim.ident] = got

        as_specified(outcomes)
        self.history.append((self.server.pool.sent, as_specified))

    def fill(self, rows: Rows, token: str, kind: str = "V") -> None:
        """Under the epoch that came with the token's last lease of the row; without one, under a nonce of nobody."""
        self.filled += 1
        body = b"N" if kind == "N" else b"V" + b"schema-1" + b"%d" % self.filled
        epochs = {row: self.granted.get((token, row), NOBODYS) for row in rows}
        fillings = [Filling(row, epochs[row][0], body, LIFE_MS, LIFE_MS // 2) for row in rows]
        accepted = self.store.fill(self.space, fillings, token.encode(), epoch_ms=FILLED_EPOCH_MS)

        def as_specified(accepted: list[bool] | None = None) -> None:
            for at, row in enumerate(rows):
                before = self._of(row)
                after = model.fill(before, token, epochs[row], body)
                self._become(row, after)
                if accepted is not None:
                    is_current = self.epoch and not model.is_intent(self.epoch) and self.epoch[0] == epochs[row][0]
                    self._expect(accepted[at], after is not before and bool(is_current), f"fill's answer for {row}")

        as_specified(accepted)
        self.history.append((self.server.pool.sent, as_specified))

    def abandon(self, rows: Rows, token: str) -> None:
        self.store.abandon(self.space, rows, token.encode())
        self._each(rows, lambda keys: model.abandon(keys, token))

    def intent(self, rows: Rows, token: str) -> None:
        self.store.place_intents(self._writes(rows), token.encode(), intent_ms=INTENT_MS)
        self._each(rows, lambda keys: model.intent(keys, token), is_tidy=True)

    def release(self, rows: Rows, token: str) -> None:
        missing = sum(not (model.is_intent(e) and token in e[1]) for e in map(self.entries.get, rows))
        self._expect(self.store.release(self._writes(rows), token.encode()), missing, "intents missing")
        self._each(rows, lambda keys: model.release(keys, token), is_tidy=True)

    def intent_all(self, token: str) -> None:
        self.store.place_intents(self._writes(), token.encode(), intent_ms=INTENT_MS)
        self._each((), lambda keys: model.intent_all(keys, token), is_tidy=True)

    def release_all(self, token: str) -> None:
        is_missing = not (model.is_intent(self.epoch) and token in self.epoch[1])
        self._expect(self.store.release(self._writes(), token.encode()), int(is_missing), "intents missing")
        self._each((), lambda keys: model.release_all(keys, token), is_tidy=True)

    def flush(self) -> None:
        self.store.flush([self.space])
        self._each((), model.flush)

    def read(self, rows: Rows) -> None:
        """Through the store: in the rows' order, each with the epoch."""
        wanted = [(self.found[self.space.epoch], self.found[self.space.entry(row)]) for row in rows]
        self._expect(
            [(s.epoch, s.entry) for seen in self.store.read(self.space, rows) for s in seen.each()],
            wanted,
            "what was read",
        )
        one = self.store.read_one(self.space, rows[0])
        self._expect((one.epoch, one.entry), wanted[0], "what was read alone")

    def again(self, back: int) -> None:
        """An earlier act is delivered once more, much later: a retry that the network kept."""
        if len(self.history) >= back:
            commands, as_specified = self.history[-back]
            self.server.ask(*map(_by_text, commands))
            as_specified()

    # --- the faults --------------------------------------------------------------------------------------------------

    def vanish(self, kind: str, row: str = "") -> None:
        """A key expires or is evicted, whatever it holds."""
        self.server.ask(("DEL", self._key(kind, row)))
        self._set(kind, row, None)

    def run_out(self, token: str, kind: str, row: str = "") -> None:
        """The deadline of an intent passes."""
        before = self._get(kind, row)
        if not model.is_intent(before):
            return
        raw = self.found[self._key(kind, row)] or b""
        ended = {t: (1_000 if t == token.encode() else deadline) for t, deadline in intents(raw)}
        raw = b"\xcaW" + b"".join(t + struct.pack(">Q", deadline) for t, deadline in ended.items())
        self.server.ask(("SET", self._key(kind, row), raw, "PX", INTENT_MS))
        left = before[1] - {token}
        self._set(kind, row, ("W", left) if left else None)

    def plant(self, kind: str, raw: bytes, row: str = "") -> None:
        """Foreign bytes; ``%nonce`` in them stands for the current epoch's."""
        epoch = model.current(self.epoch, self.run)
        raw = raw.replace(b"%nonce", (epoch or NOBODYS)[0])
        self.server.ask(("SET", self._key(kind, row), raw))
        self.planted[self._key(kind, row)] = raw
        body = body_in(raw)
        if kind == "lease":
            self._set(kind, row, lease_in(raw))
        elif kind == "entry" and body:
            self._set(kind, row, ("V", body, epoch or NOBODYS))
        else:
            self._set(kind, row, None)

    def mistype(self, kind: str, row: str = "") -> None:
        """A list stands where a string should."""
        self.server.ask(("DEL", self._key(kind, row)), ("LPUSH", self._key(kind, row), "x"))
        self.planted[self._key(kind, row)] = None
        self._set(kind, row, None)

    def forget_scripts(self) -> None:
        self.server.ask(("SCRIPT", "FLUSH"))

    def restart(self) -> None:
        """Another server answers with the same keys: a failover."""
        self.run = b"run-%04d" % (int(self.run[4:]) + 1)

    def save(self) -> None:
        """A snapshot, for ``rewind``."""
        lives = self.server.ask(*(("PTTL", key) for key in self.keys))
        kept = {key: (raw, life) for key, raw, life in zip(self.keys, self.found.values(), lives, strict=True)}
        self.saved = (kept, dict(self.entries), dict(self.leases), self.epoch)

    def rewind(self) -> None:
        """The server restarts from the snapshot: another run id."""
        if self.saved is None:
            return
        self.restart()
        kept, entries, leases, self.epoch = self.saved
        self.entries, self.leases = dict(entries), dict(leases)
        self.planted = {key: raw for key, (raw, life) in kept.items() if life == -1}
        back = [
            ("SET", key, raw, *(("PX", life) if life > 0 else ()))
            for key, (raw, life) in kept.items()
            if raw is not None
        ]
        self.server.ask(("DEL", *self.keys), *back)

    # --- what they have in common ------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Look at every key: its meaning, its remaining life, and what a reader would do with it."""
        (looked,) = self.server.ask(("EVAL", LOOK, len(self.keys), *self.keys))
        self.found = dict(zip(self.keys, looked[::2], strict=True))
        life = dict(zip(self.keys, looked[1::2], strict=True))
        now = int(time.time() * 1000)
        epoch_raw = self.found[self.space.epoch]
        self._expect(epoch_in(epoch_raw, now), self.epoch, "the epoch")
        for row in ROWS:
            entry_raw, entry = self.found[self.space.entry(row)], self.entries[row]
            self._expect(entry_in(entry_raw, now), without_run(entry), f"the entry of {row}")
            self._expect(lease_in(self.found[self.space.lease(row)]), self.leases[row], f"the lease of {row}")
            if not (is_dead(epoch_raw, now) or is_dead(entry_raw, now)):  # then the server would have dropped the key
                found = judge(self.run, epoch_raw, entry_raw)
                kind = "HIT" if found is Found.NEGATIVE_HIT else found.name
                self._expect(kind, model.read(self._of(row), self.run), f"what a reader does with {row}")
                if kind == "HIT" and not {self.space.epoch, self.space.entry(row)} & set(self.planted):
                    is_outlived = life[self.space.epoch] < life[self.space.entry(row)]
                    self._expect(is_outlived, False, f"the epoch goes before the entry of {row}")
        for key in self.tidied:
            raw = self.found[key]
            is_tidy = raw is None or all(deadline > now for _, deadline in intents(raw))
            self._expect(is_tidy, True, f"{key} holds no intent that has run out")
        self.tidied.clear()
        for key in self.keys:
            if key in self.planted and (life[key] != -1 or self.planted[key] != self.found[key]):
                del self.planted[key]  # written over by one of the acts
            if key not in self.planted and life[key] != -2:
                self._expect(0 < life[key] <= FAR_MS, True, f"{key} expires")

    def _expect(self, found: Any, wanted: Any, what: str) -> None:
        if found != wanted:
            raise DisagreementError(f"{what}: the server says {found!r}, the model {wanted!r}")

    def _writes(self, rows: Rows = ()) -> Writes:
        writes = Writes()
        if rows:
            writes.add_rows(self.space, rows)
        else:
            writes.add_model(self.space)
        return writes

    def _each(self, rows: Rows, act: Callable[[model.Keys], model.Keys], *, is_tidy: bool = False) -> None:
        """The model's part of an act, now and whenever the act is delivered again.

        is_tidy: the act leaves no intent that has run out. Else an entry would grow with each write.
        """

        def as_specified() -> None:
            for row in rows:
                self._become(row, act(self._of(row)))
            if not rows:
                self.epoch = act(model.NOTHING._replace(G=self.epoch)).G
            if is_tidy:
                self.tidied = {*map(self.space.entry, rows)} if rows else {self.space.epoch}

        as_specified()
        self.history.append((self.server.pool.sent, as_specified))

    def _of(self, row: str) -> model.Keys:
        return model.Keys(self.entries[row], self.leases[row], self.epoch)

    def _become(self, row: str, keys: model.Keys) -> None:
        self.entries[row], self.leases[row], self.epoch = keys

    def _get(self, kind: str, row: str) -> Any:
        return self.epoch if kind == "epoch" else self.entries[row]

    def _set(self, kind: str, row: str, what: Any) -> None:
        if kind == "epoch":
            self.epoch = what
        else:
            (self.entries if kind == "entry" else self.leases)[row] = what

    def _key(self, kind: str, row: str) -> str:
        return self.space.epoch if kind == "epoch" else getattr(self.space, kind)(row)

    def _new_nonce(self) -> bytes:
        """The nonce that acquire drew, if it drew one: the model is told, but a nonce must never come twice."""
        ((raw,),) = self.server.ask(("MGET", self.space.epoch))
        nonce = raw[2:10] if raw is not None and raw[:2] == b"\xcaG" and len(raw) == 18 else b""
        if nonce in self.nonces:
            return b"not drawn"
        self.nonces.add(nonce)
        return nonce


def _answer(outcome: Acquired) -> tuple[str, Any]:
    if isinstance(outcome, Own):
        return "OWN", outcome.nonce
    if isinstance(outcome, Wait):
        return "WAIT", outcome.lease.decode("latin-1")
    if isinstance(outcome, Value):
        return "VALUE", body_in(outcome.entry)
    return "BYPASS", None


def _by_text(command: Command) -> Command:
    """EVALSHA as EVAL: the script may be forgotten meanwhile."""
    texts = {script.sha: script.text for script in vars(scripts).values() if isinstance(script, scripts.Script)}
    return ("EVAL", texts[command[1]], *command[2:])

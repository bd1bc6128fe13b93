"""The store: what can be done to the keys of rows and models, and what each act costs.

Rows of one model travel together: up to ``ROWS_PER_SCRIPT`` in one script, all scripts of an act in one pipeline.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha1
from time import time_ns
from typing import TypeVar

from django_cacheaside.keys import KeySpace
from django_cacheaside.store import scripts
from django_cacheaside.store.acts import (
    Acquired,
    Bypass,
    Claim,
    Description,
    Filling,
    Heard,
    Own,
    Seen,
    SeenRows,
    Value,
    Wait,
)
from django_cacheaside.store.envelope import NONCE_SIZE, TOKEN_SIZE
from django_cacheaside.store.errors import CLIENT_ERRORS, unavailable
from django_cacheaside.store.generations import Generations
from django_cacheaside.store.pool import Command, Pool
from django_cacheaside.store.sending import Sender
from django_cacheaside.store.writes import ROWS_PER_SCRIPT, Writes

KEYS_PER_MGET = 1000

T = TypeVar("T")


def new_token() -> bytes:
    """A token for one reader's leases or one transaction's intents.

    From the kernel: forked children never share one.
    """
    return os.urandom(TOKEN_SIZE)


class Store(Sender):
    """Redis or Valkey, as the protocol uses it. Safe to share between threads and across a fork.

    Args:
        pool: Its connections.
        probe_key: A key that ``probe`` may write.

    Every act raises ``StoreUnavailableError`` if the server did not answer in time or refused.
    """

    def __init__(self, pool: Pool, *, probe_key: str) -> None:
        super().__init__(pool)
        self._probe_key = probe_key
        self.generations = Generations()

    def now_ms(self) -> int:
        """The server's clock, as far as it was told when the connection used last was made: milliseconds since 1970."""
        return time_ns() // 1_000_000 + self._pool.ahead_ms

    def read_one(self, space: KeySpace, ident: str) -> Seen:
        """The epoch and one entry. One round trip: one MGET, no script."""
        try:  # as ``_call`` does: this is the hit
            run, (epoch, entry) = self._pool.call(("MGET", space.epoch, space.entry(ident)))
        except CLIENT_ERRORS as error:
            raise unavailable(error) from error
        if run != self._trusted:
            self._meet(run)
        return Seen(self.generations.sealed(run, space.database), epoch, entry)

    def read(self, space: KeySpace, idents: Sequence[str]) -> list[SeenRows]:
        """The epoch and the entries of many rows, in their order. One round trip: one MGET per 1,000 rows."""
        commands: list[Command] = [
            ("MGET", space.epoch, *space.entries(chunk)) for chunk in _chunks(idents, KEYS_PER_MGET)
        ]
        if len(commands) == 1:
            run, (epoch, *entries) = self._call(commands[0])
            if run != self._trusted:
                self._meet(run)
            return [SeenRows(self.generations.sealed(run, space.database), epoch, entries)]
        run, replies = self._pipeline(commands)
        if run != self._trusted:
            self._meet(run)
        run = self.generations.sealed(run, space.database)
        return [SeenRows(run, epoch, entries) for epoch, *entries in replies]

    def read_descriptions(self, space: KeySpace, fingerprints: Sequence[bytes]) -> list[bytes | None]:
        """What is told of the columns of entries with these fingerprints; None for each of which nothing is.

        One round trip.
        """
        _, records = self._call(("MGET", *(space.schema(one.hex()) for one in fingerprints)))
        return list(records)

    def acquire(
        self, space: KeySpace, claims: Sequence[Claim], token: bytes, *, run: bytes, lease_ms: int, epoch_ms: int
    ) -> list[Acquired]:
        """Try to become the one reader that fills each row. One round trip.

        Args:
            run: The run id of the server that the reader has seen. If another one answers, what is filled is never
                served.
            lease_ms: How long a lease is held if its owner never comes back. Choose it above the p99 of one load.
            epoch_ms: How long a new epoch lives if nothing is filled under it.

        Source: Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, §3.2.1.
        """
        nonce = os.urandom(NONCE_SIZE)
        replies = self._run(
            (
                scripts.ACQUIRE,
                [space.epoch, *_row_keys(space, [claim.ident for claim in chunk])],
                [token, nonce, run, lease_ms, epoch_ms, *[arg for claim in chunk for arg in _what_it_saw(claim)]],
            )
            for chunk in _chunks(claims, ROWS_PER_SCRIPT)
        )
        return [_acquired(reply) for chunk in replies for reply in chunk]

    def fill(
        self,
        space: KeySpace,
        fillings: Sequence[Filling],
        token: bytes,
        *,
        epoch_ms: int,
        described: Description | None = None,
    ) -> list[bool]:
        """Store rows, each only if lease and epoch are still ``token``'s: True for each that was accepted.

        One round trip.

        Args:
            epoch_ms: How long the epoch lives on, if less than half of that is left: no entry filled now outlives half.
            described: What is to be told of their columns before, if anything.
        """
        tell: list[Command] = []
        if described is not None:
            key = space.schema(described.fingerprint.hex())
            tell.append(("SET", key, described.record, "PX", described.life_ms))
        replies = self._run(
            (
                (
                    scripts.FILL,
                    [space.epoch, *_row_keys(space, [filling.ident for filling in chunk])],
                    [
                        token,
                        epoch_ms,
                        *[argument for f in chunk for argument in (f.nonce, f.life_ms, f.fresh_ms, f.body)],
                    ],
                )
                for chunk in _chunks(fillings, ROWS_PER_SCRIPT)
            ),
            before=tell,
        )
        return [accepted == 1 for chunk in replies for accepted in chunk]

    def abandon(self, space: KeySpace, idents: Sequence[str], token: bytes) -> None:
        """Give up leases whose load failed. One round trip."""
        self._run(
            (scripts.ABANDON, [space.lease(ident) for ident in chunk], [token])
            for chunk in _chunks(idents, ROWS_PER_SCRIPT)
        )

    def place_intents(self, writes: Writes, token: bytes, *, intent_ms: int) -> None:
        """Before COMMIT: void what is written, and let readers bypass it. One round trip for any number of rows."""
        self._run(
            [
                *[(scripts.INTENT, keys, (token, intent_ms)) for keys in writes.row_keys()],
                *[(scripts.INTENT_ALL, [space.epoch], [token, intent_ms]) for space in writes.models],
            ]
        )

    def release(self, writes: Writes, token: bytes) -> int:
        """After COMMIT or its sure failure. One round trip.

        Returns:
            How many intents were no longer there.
        """
        return sum(
            self._run(
                [
                    *[(scripts.RELEASE, keys, (token,)) for keys in writes.row_keys()],
                    *[(scripts.RELEASE_ALL, [space.epoch], [token]) for space in writes.models],
                ]
            )
        )

    def flush(self, spaces: Iterable[KeySpace]) -> None:
        """Drop all values of models by their epochs, O(1) each. One round trip."""
        self._run((scripts.FLUSH, [space.epoch], []) for space in spaces)

    def announce(self, record: str, mark: str, text: str, *, life_ms: int, had: str) -> Heard:
        """Say how this process makes its keys, and hear how others do. One round trip.

        Args:
            record: The key that all processes of one database look at; it is not made by the alias's key function.
            mark: What must be equal for keys to meet.
            text: The same for people. Processes of one mark keep the one that was said last.
            life_ms: How long it counts if nobody says it again.
            had: The generation that this process has lately been told, in hexadecimal; "" for none.
        """
        drawn = os.urandom(NONCE_SIZE).hex()
        ((age_ms, generation, *others),) = self._run([(scripts.ANNOUNCE, [record], [mark, text, life_ms, drawn, had])])
        said = [part.decode("utf-8", "replace") for part in others]
        return Heard(age_ms, generation.decode(), dict(zip(said[::2], said[1::2], strict=True)))

    def withdraw(self, record: str, mark: str) -> None:
        """Take back what was announced. One round trip."""
        self._run([(scripts.WITHDRAW, [record], [mark])])

    def hold(self, key: str, token: bytes, *, life_ms: int) -> bool:
        """Be, or stay, the one who holds ``key``. Two holders for a moment must do no harm. Two round trips at most."""
        _, (was_set, holder) = self._pipeline([("SET", key, token, "NX", "PX", life_ms), ("GET", key)])
        if not was_set and holder == token:
            self._pipeline([("PEXPIRE", key, life_ms)])
        return bool(holder == token)

    def probe(self) -> bytes:
        """Does the server take writes? One that is full, a replica or forbidden could not be told of a commit.

        Returns its run id. One round trip.
        """
        run, _ = self._pipeline([("SET", self._probe_key, "1", "PX", 1000)])
        return run

    def info(self, section: str) -> dict[str, str]:
        """What the server's INFO says in one section. One round trip; unlike CONFIG, managed services allow it."""
        _, text = self._call(("INFO", section))
        return dict(line.split(":", 1) for line in text.decode("utf-8", "replace").splitlines() if ":" in line)

    def close(self) -> None:
        """Hang up all idle connections; the store stays usable."""
        self._pool.close()


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _row_keys(space: KeySpace, idents: Sequence[str]) -> list[str]:
    return [key for ident in idents for key in (space.entry(ident), space.lease(ident))]


def _what_it_saw(claim: Claim) -> tuple[str, bytes]:
    digest = "" if claim.seen is None else sha1(claim.seen, usedforsecurity=False).hexdigest()
    return digest, claim.steal or b""


def _acquired(reply: bytes) -> Acquired:
    kind, rest = reply[:1], reply[1:]
    if kind == b"O":
        return Own(rest)
    if kind == b"W":
        return Wait(rest)
    if kind == b"V":
        return Value(rest)
    return Bypass()

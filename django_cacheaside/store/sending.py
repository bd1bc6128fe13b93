"""How the store's acts reach the server: one error boundary, scripts by their hash, and the run that may be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.store.errors import CLIENT_ERRORS, unavailable
from django_cacheaside.store.pool import Command, Pool
from django_cacheaside.store.scripts import Script

Call = tuple[Script, Sequence[str], Sequence[Any]]
"""One script with its KEYS and ARGV."""


class Sender:
    """Sends commands and scripts over a pool. Raises ``StoreUnavailableError`` for whatever the client raises."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._trusted: bytes | None = None

    def trust(self, run: bytes) -> None:
        """Read from this run of the server from now on, and from no other until that is trusted."""
        self._trusted = run

    def _meet(self, run: bytes) -> None:
        """Another run than the trusted one has answered a read. The first one that this process meets is trusted.

        Raises:
            StoreUnavailableError: It was restarted, or is another server: others may not have noticed yet, and what
                they commit until they do is not announced.
        """
        if self._trusted is not None:
            raise StoreUnavailableError("the server was restarted, or another one answers in its place")
        self._trusted = run

    def _call(self, command: Command) -> tuple[bytes, Any]:
        """Send one command: the run that answered, and the reply. One round trip."""
        try:
            return self._pool.call(command)
        except CLIENT_ERRORS as error:
            raise unavailable(error) from error

    def _run(self, calls: Iterable[Call], *, before: Sequence[Command] = ()) -> list[Any]:
        """Run scripts in one pipeline, and those that the server doesn't know in a second one by their text.

        Args:
            before: Plain commands that stand before them in the pipeline. Their replies are not returned.
        """
        calls = list(calls)
        if not calls:
            return []
        if len(calls) == 1 and not before:
            return [self._run_one(*calls[0])]
        by_sha = [("EVALSHA", script.sha, len(keys), *keys, *argv) for script, keys, argv in calls]
        _, replies = self._pipeline([*before, *by_sha])
        del replies[: len(before)]
        if unknown := [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]:
            by_text = [("EVAL", calls[at][0].text, len(calls[at][1]), *calls[at][1], *calls[at][2]) for at in unknown]
            _, repaired = self._pipeline(by_text)
            for at, reply in zip(unknown, repaired, strict=True):
                replies[at] = reply
        return replies

    def _run_one(self, script: Script, keys: Sequence[str], argv: Sequence[Any]) -> Any:
        """As ``_run``, for what most commits write: without the lists that a pipeline takes."""
        try:
            try:
                run, reply = self._pool.call(("EVALSHA", script.sha, len(keys), *keys, *argv))
            except NoScriptError:
                run, reply = self._pool.call(("EVAL", script.text, len(keys), *keys, *argv))
        except CLIENT_ERRORS as error:
            raise unavailable(error) from error
        if self._trusted is None:
            self._trusted = run
        return reply

    def _pipeline(self, commands: Sequence[Command]) -> tuple[bytes, list[Any]]:
        try:
            run, replies = self._pool.pipeline(commands)
        except CLIENT_ERRORS as error:
            raise unavailable(error) from error
        if self._trusted is None:
            self._trusted = run
        for reply in replies:
            if isinstance(reply, ResponseError) and not isinstance(reply, NoScriptError):
                raise unavailable(reply) from reply
        return run, replies

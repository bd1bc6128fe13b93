"""What all processes have counted, hour by hour: two keys each, bounded, and gone a day later.

    {cacheaside}counts:495048    field -> count, as every process has added to it
    {cacheaside}hot:495048       the keys that were asked for most

An hour is numbered from the epoch of Unix time, by the clock of who counted. All keys are in one slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from django_cacheaside.keys import MakeKey
from django_cacheaside.store.errors import CLIENT_ERRORS, unavailable
from django_cacheaside.store.pool import Command, Pool
from django_cacheaside.store.scripts import PUBLISH

HOURS_KEPT = 24
LIFE_MS = 1000 * 3600 * (HOURS_KEPT + 1)

MOST_FIELDS = 20_000
"""Of one hour: 2 MB."""

MOST_HOT = 500
"""Hot keys of one hour: 50 kB."""

FIELDS_PER_SCRIPT = 1000
"""So that no script keeps the server busy for more than a millisecond or so."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What one process has counted and not told yet.

    Args:
        hour: To which it belongs.
        process: Who counted.
        sequence: Of its first part; each part has the next. Greater than that of any earlier publication.
        counts: To add, by field.
        hot: Reads to add, by key.
    """

    hour: int
    process: str
    sequence: int
    counts: Mapping[str, int]
    hot: Mapping[str, int]

    @property
    def parts(self) -> list[list[tuple[str, int]]]:
        """The counts, cut into scripts; one at least."""
        items = list(self.counts.items())
        return [items[at : at + FIELDS_PER_SCRIPT] for at in range(0, max(1, len(items)), FIELDS_PER_SCRIPT)]


@dataclass(frozen=True, slots=True)
class Read:
    """What was published in some hours. ``processes``: how many did; ``hot``: the hottest keys first."""

    counts: Mapping[str, int]
    hot: Mapping[str, int]
    processes: int


class Published:
    """The shared record. Safe to share between threads.

    Every act raises ``StoreUnavailableError`` if the server did not answer in time or refused.
    """

    def __init__(self, pool: Pool, make_key: MakeKey) -> None:
        self._pool = pool
        self.make_key = make_key

    def add(self, publication: Publication) -> None:
        """Add what a process has counted, at most once however often it is sent. One round trip."""
        hour = publication.hour
        keys = [self.make_key(f"{{cacheaside}}{kind}:{hour}") for kind in ("counts", "hot")]
        calls: list[list[Any]] = []
        for nth, part in enumerate(publication.parts):
            call = [2, *keys, publication.process, publication.sequence + nth, LIFE_MS, MOST_FIELDS, MOST_HOT]
            call += [len(part), *(argument for item in part for argument in item)]
            calls.append(call)
        calls[-1] += [argument for item in publication.hot.items() for argument in item]
        replies = self._pipeline([("EVALSHA", PUBLISH.sha, *call) for call in calls], may_lack_script=True)
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            self._pipeline([("EVAL", PUBLISH.text, *calls[at]) for at in unknown])

    def read(self, hours: Sequence[int]) -> Read:
        """What all processes have published in some hours. One round trip."""
        replies = self._pipeline(
            [
                command
                for hour in hours
                for command in (
                    ("HGETALL", self.make_key(f"{{cacheaside}}counts:{hour}")),
                    ("ZREVRANGE", self.make_key(f"{{cacheaside}}hot:{hour}"), 0, MOST_HOT - 1, "WITHSCORES"),
                )
            ]
        )
        counts: dict[str, int] = {}
        hot: dict[str, int] = {}
        processes: set[str] = set()
        for total, pairs in zip([counts, hot] * len(hours), replies, strict=True):
            for raw, number in zip(pairs[::2], pairs[1::2], strict=True):
                name = raw.decode("utf-8", "replace")
                if name.startswith("#") and total is counts:
                    processes.add(name)
                else:
                    total[name] = total.get(name, 0) + _count(number)
        return Read(counts, dict(sorted(hot.items(), key=lambda item: -item[1])), len(processes))

    def _pipeline(self, commands: Sequence[Command], *, may_lack_script: bool = False) -> list[Any]:
        try:
            _, replies = self._pool.pipeline(commands)
        except CLIENT_ERRORS as error:
            raise unavailable(error) from error
        for reply in replies:
            if isinstance(reply, ResponseError) and not (may_lack_script and isinstance(reply, NoScriptError)):
                raise unavailable(reply) from reply
        return replies


def _count(raw: bytes) -> int:
    """A number as the server writes it; 0 for what is none."""
    try:
        return max(0, int(float(raw)) if b"." in raw or b"e" in raw else int(raw))
    except (ValueError, OverflowError):
        return 0

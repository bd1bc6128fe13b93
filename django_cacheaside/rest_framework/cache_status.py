"""How the cache handled a request, as ``Cache-Status`` tells it.

Source: RFC 9211; the syntax of its values is that of RFC 8941, section 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from django_cacheaside.engine.tally import Event, Tally

HEADER: Final = "Cache-Status"
_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_STRING: Final = re.compile(r"[ -~]*")


class Way(IntEnum):
    """Where a request's rows were looked for; of several reads the greatest is told."""

    NOT_ASKED = 0
    CACHE = 1
    BYPASS = 2
    METHOD = 3


class Reads:
    """What the reads of one request came to."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._way = Way.NOT_ASKED

    def went(self, way: Way) -> None:
        """One more read."""
        self._way = max(self._way, way)

    def parameters(self) -> dict[str, str | bool]:
        """Those of this cache's member of ``Cache-Status``. What is no token is True."""
        counts = self.tally.counts
        if counts[Event.OVERLOADED]:
            return {"detail": "overloaded"}
        if self._way is Way.METHOD:
            return {"fwd": "method"}  # a row that is going to be written comes from the database
        if self._way is Way.BYPASS:
            return {"fwd": "bypass"}
        if counts[Event.MISS]:
            told: dict[str, str | bool] = {"fwd": "miss"}
            if counts[Event.FILL]:
                told["stored"] = True
            if counts[Event.SHARED]:
                told["collapsed"] = True
            return told
        if counts[Event.BYPASS]:
            return {"fwd": "bypass", "detail": "other-columns" if counts[Event.OTHER_COLUMNS] else "commit-open"}
        if counts[Event.DATABASE_READ] or counts[Event.SHARED]:
            return {"fwd": "bypass", "detail": "unreachable"}
        if counts[Event.STALE_HIT]:
            return {"fwd": "stale"} if counts[Event.REFRESH] else {"hit": True, "detail": "stale"}
        if counts[Event.HIT] or counts[Event.NEAR_HIT]:
            return {"hit": True}
        if counts[Event.NEGATIVE_HIT]:
            return {"hit": True, "detail": "missing"}
        return {"detail": "not-asked"}


def member(name: str, parameters: Mapping[str, str | bool]) -> str:
    """One member of the list that ``Cache-Status`` is: ``CacheAside; fwd=miss; stored``.

    Args:
        name: Of the cache: a token as it is, other text as a string.
        parameters: Of tokens, and of True for what is just there.

    Raises:
        ValueError: ``name`` has characters that a header cannot hold.
    """
    if _TOKEN.fullmatch(name):
        item = name
    elif _STRING.fullmatch(name):
        item = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        raise ValueError(f"cache_status_name = {name!r}: the name of a cache is printable ASCII.")
    return "; ".join([item, *(key if value is True else f"{key}={value}" for key, value in parameters.items())])

"""What writers have said in their files, as a history."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.soak.history import GUARDED, NEVER_S, Write

INTENT_LOST = "intent lost"
"""The cause of a commit whose release did not find its intents, for a reason that the guarantee table names."""

Lost = Callable[[float, float], bool]
"""Can intents have been lost while a COMMIT was on its way, from when to when?"""

Why = Callable[[int, float], str]
"""Why a writer did not reach the server, by its number and the time at which it sent a COMMIT."""


def read_logbook(file: Path, writer: int, why: Why, can_lose: Lost) -> tuple[list[Write], list[str]]:
    """Everything that a writer has sent, and the errors that it met. A last line that was cut off was never said."""
    writes: list[Write] = []
    errors: list[str] = []
    sent: dict[int, Any] = {}
    for line in file.read_text().split("\n")[:-1]:
        kind, *said = json.loads(line)
        if kind == "error":
            errors.append(said[0])
        elif kind == "sends":
            number, act, sent_s, states = said
            sent[number] = (act, sent_s, states, GUARDED)
        elif kind == "unannounced":
            act, sent_s, states, _ = sent[said[0]]
            sent[said[0]] = (act, sent_s, states, why(writer, sent_s))
        else:
            number, acked_s, is_unannounced, is_missing, states = said
            act, sent_s, announced, _ = sent.pop(number)
            cause = GUARDED
            if is_unannounced:
                cause = why(writer, sent_s)
            elif is_missing and can_lose(sent_s, acked_s):
                cause = INTENT_LOST
            writes += _writes(states or announced, sent_s, acked_s, cause, writer, act)
    for act, sent_s, states, cause in sent.values():
        writes += _writes(states, sent_s, NEVER_S, cause, writer, act)
    return writes, errors


def _writes(states: Iterable[Any], sent_s: float, acked_s: float, cause: str, writer: int, act: str) -> list[Write]:
    return [Write(subject, version, row, sent_s, acked_s, cause, writer, act) for subject, version, row in states]


def commits(writes: Iterable[Write]) -> int:
    """How many were acknowledged: those of one COMMIT have one time."""
    return len({(write.writer, write.acked_s) for write in writes if write.acked_s < NEVER_S})


def unknown(writes: Iterable[Write]) -> int:
    """Of how many nobody has heard whether they happened."""
    return len({(write.writer, write.sent_s) for write in writes if write.acked_s == NEVER_S})

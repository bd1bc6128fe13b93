"""The places where a test can stop a thread, kill a process, or raise: their names, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from difflib import get_close_matches
from types import MappingProxyType

from django_cacheaside import failpoints

FAILPOINTS: Mapping[str, str] = MappingProxyType(
    {
        "before-intent": "a writer, before it places its intents",
        "after-intent": "a writer whose intents stand",
        "before-unannounced": "a writer that found the circuit open, before it leaves its intents to a later probe",
        "late-intent": "who probes the server, when it has placed the intents of a COMMIT that is under way",
        "before-journal": "a writer whose intents the server did not take, before it notes its keys in the journal",
        "after-journal": "a writer whose keys are noted, before COMMIT is sent",
        "after-relay": "who relays the journal, when the server has been told",
        "before-commit": "a transaction, just before COMMIT is sent",
        "after-commit": "a writer whose COMMIT was acknowledged, before it releases",
        "after-failure": "a writer whose COMMIT surely failed, before it releases",
        "after-release": "a writer that is through",
        "before-acquire": "a reader that missed, before it asks for the lease",
        "before-load": "a reader that has the lease, before its SELECT",
        "after-load": "a reader whose SELECT has answered",
        "before-fill": "a reader, before it fills; nobody joins its load any more",
        "after-fill": "a reader whose fill was accepted or refused",
        "before-bypass": "a reader that goes past the cache, before its SELECT",
        "after-bypass": "a reader that goes past the cache, after its SELECT",
        "after-index": "a reader by a declared key that knows the primary keys, before it looks for the rows",
        "before-join": "a reader, before it waits for another one's load",
        "before-keep": "a reader of near rows that has asked the server, before it keeps the answer near",
        "before-drop": "who has heard on the near connection what was modified, before it is dropped",
    }
)
"""Each failpoint, and who reaches it."""


def armed(name: str, action: Callable[[], None]) -> AbstractContextManager[None]:
    """Run ``action`` in every thread that reaches the failpoint ``name`` inside the block.

    What it raises goes through the package as an error at that place would.

    Raises:
        LookupError: There is no such failpoint; the message names the nearest, or all.
    """
    if name not in FAILPOINTS:
        close = get_close_matches(name, FAILPOINTS, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(FAILPOINTS)}."
        raise LookupError(f"There is no failpoint {name!r}. {hint}")
    return failpoints.armed(name, action)

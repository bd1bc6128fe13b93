"""What schedules are made of: steps, each the name of a method of ``Twin`` and its arguments."""

from __future__ import annotations

from itertools import combinations
from typing import Any

Step = tuple[Any, ...]
"""The name of a method of ``Twin``, and its arguments."""

Rows = tuple[str, ...]

ROWS: Rows = ("a", "b", "c")
BATCHES: tuple[Rows, ...] = (*((row,) for row in ROWS), *combinations(ROWS, 2), ROWS)
READERS = ("reader-one..", "reader-two..")
WRITERS = ("writer-one..", "writer-two..")
STRANGER = "stranger...."


GARBAGE = (
    b"",
    b"\xca",
    b"\xcaW",
    b"\xcaW" + bytes(19),
    b"\xcaG%nonce" + b"short",
    b"\xcaG%nonce" + b"run-0000" + b"long",
    b"\xcaV%nonce",
    b"\xcaV%nonce" + bytes(7),
    b"\xcaV%nonce" + bytes(8) + b"foreign",
    b"\xcaN%nonce" + bytes(8),
    b"\xcaN%nonce" + bytes(8) + b"trailing",
    b"\x80\x05K*.",
    b"twelve bytes",
)

_PLACES = (("epoch",), *((kind, row) for kind in ("entry", "lease") for row in ROWS))
_READS = tuple((rows, token) for rows in BATCHES for token in READERS)
_WRITES = tuple((rows, token) for rows in BATCHES for token in WRITERS)

_SHARES: tuple[tuple[int, list[Step]], ...] = (
    (1, [("idle",)]),
    (20, [("acquire", *it) for it in _READS]),
    (5, [("acquire", *it, seen) for it in _READS for seen in ("found", "found", "other")]),
    (
        5,
        [
            ("acquire", *it, seen, steal)
            for it in _READS
            for seen in ("", "found")
            for steal in ("found", "found", "other")
        ],
    ),
    (18, [("fill", *it) for it in _READS]),
    (2, [("fill", *it, "N") for it in _READS]),
    (3, [("abandon", *it) for it in _READS]),
    (9, [("intent", *it) for it in _WRITES]),
    (8, [("release", *it) for it in _WRITES]),
    (4, [("intent_all", token) for token in WRITERS]),
    (4, [("release_all", token) for token in WRITERS]),
    (2, [("flush",)]),
    (1, [("read", rows) for rows in (*BATCHES, ROWS[::-1])]),
    (9, [("again", back) for back in range(1, 9)]),
    (4, [("vanish", *place) for place in _PLACES]),
    (5, [("run_out", token, *place) for token in WRITERS for place in _PLACES if place[0] != "lease"]),
    (5, [("plant", "entry", raw, row) for row in ROWS for raw in GARBAGE]),
    (2, [("plant", "epoch", raw) for raw in GARBAGE]),
    (1, [("plant", "lease", raw, row) for row in ROWS for raw in GARBAGE]),
    (2, [("plant", "lease", token.encode(), row) for token in READERS for row in ROWS]),
    (2, [("mistype", *place) for place in (*_PLACES, *[("epoch",)] * 3)]),
    (1, [("forget_scripts",), *[("restart",)] * 2]),
    (2, [("save",)]),
    (2, [("rewind",)]),
)

KINDS: list[list[Step]] = [steps for share, steps in _SHARES for _ in range(share)]
"""The steps by their kind, each kind as often as its share says; the simplest first."""

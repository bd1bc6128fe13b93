"""Sharing one load between the readers of a process (single-flight): which rules keep the promise.

    python -m tests.laws.flight     each line names a rule and says HOLDS or BROKEN with a trace; exit 1 unless exactly
                                    the rules we use hold

A reader that begins after a COMMIT may join a flight whose SELECT ran before it: naive sharing breaks the promise on
every hot key. Two rules hold. With a lease: a result is shared only if its `fill` was accepted, and the flight takes
no more joiners once its owner is about to fill. Without a lease (bypass, outage): join only a flight whose SELECT is
not yet sent.
"""

# E and L are the keys of the drawing, no constants; the command prints.
# ruff: noqa: SIM300, T201

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

Reader = tuple[Any, ...]
"""A reader's phase, the newest commit when it began, and what the phase needs."""


class S(NamedTuple):
    """One state: what the server, the database, the writer, the flight and the readers are at."""

    db: int
    E: Any  # entry: None, "W" for an intent, or a version
    L: str | None  # lease
    w: int  # how far the writer is
    flight: str | None  # None open loading filling done
    result: tuple[int, bool] | None  # value, accepted
    rs: tuple[Reader, ...]


Step = tuple[str, S, str | None]
RULES = {
    # rule, is there no server: does it hold
    ("naive", False): False,
    ("accepted", False): False,
    ("accepted and closed before fill", False): True,
    ("naive", True): False,
    ("select not yet sent", True): True,
}


def steps(s: S, rule: str, *, outage: bool) -> Iterator[Step]:
    def r(i: int, *phase: Any) -> tuple[Reader, ...]:
        return (*s.rs[:i], phase, *s.rs[i + 1 :])

    if s.w == 0:
        yield "w intent", s._replace(w=1, **({} if outage else {"E": "W", "L": None})), None
    elif s.w == 1:
        yield "w COMMIT", s._replace(w=2, db=s.db + 1), None
    elif s.w == 2:
        yield "w release", s._replace(w=3, **({} if outage else {"E": None, "L": None})), None
    for i, (phase, *at) in enumerate(s.rs):
        me = f"r{i}"
        if phase == "idle":
            if not outage and s.E not in (None, "W"):
                yield f"{me} HIT {s.E}", s._replace(rs=r(i, "return", s.db, s.E)), None
            elif not outage and s.E == "W":
                yield f"{me} bypasses", s._replace(rs=r(i, "alone", s.db)), None
            else:
                yield f"{me} begins, misses", s._replace(rs=r(i, "miss", s.db)), None
        elif phase == "alone":
            yield f"{me} loads alone", s._replace(rs=r(i, "return", at[0], s.db)), None
        elif phase == "miss":
            joinable = {
                "naive": ("open", "loading", "filling"),
                "accepted": ("open", "loading", "filling"),
                "accepted and closed before fill": ("open", "loading"),
                "select not yet sent": ("open",),
            }[rule]
            if s.flight is None:
                yield f"{me} opens the flight", s._replace(flight="open", result=None, rs=r(i, "own", at[0])), None
            elif s.flight in joinable:
                yield f"{me} joins the flight", s._replace(rs=r(i, "join", at[0])), None
            else:
                yield f"{me} loads alone", s._replace(rs=r(i, "return", at[0], s.db)), None
        elif phase == "own":
            if outage or s.E == "W":
                yield (
                    f"{me} sends its SELECT, reads {s.db}",
                    s._replace(flight="loading", rs=r(i, "loaded", at[0], None, s.db)),
                    None,
                )
            elif s.L is None:
                yield f"{me} leases", s._replace(L=me, rs=r(i, "leased", at[0])), None
        elif phase == "leased":
            yield (
                f"{me} sends its SELECT, reads {s.db}",
                s._replace(flight="loading", rs=r(i, "loaded", at[0], me, s.db)),
                None,
            )
        elif phase == "loaded":
            if s.flight == "loading":
                yield f"{me} is about to fill", s._replace(flight="filling"), None
            elif s.result is None:
                ok = at[1] is not None and s.L == at[1]
                yield (
                    f"{me} fill {'accepted' if ok else 'refused'}",
                    s._replace(result=(at[2], ok), **({"E": at[2], "L": None} if ok else {})),
                    None,
                )
            else:
                yield f"{me} publishes", s._replace(flight="done", rs=r(i, "return", at[0], at[2])), None
        elif phase == "join" and s.flight == "done":
            value, accepted = s.result
            if accepted or rule in ("naive", "select not yet sent"):
                yield f"{me} takes {value}", s._replace(rs=r(i, "return", at[0], value)), None
            else:
                yield f"{me} loads again itself", s._replace(rs=r(i, "return", at[0], s.db)), None
        elif phase == "return":
            yield (
                f"{me} returns {at[1]}",
                s._replace(rs=r(i, "end")),
                f"{me} RETURNS {at[1]} although {at[0]} was committed when it began" if at[1] < at[0] else None,
            )


def explore(rule: str, *, outage: bool = False) -> tuple[list[str] | None, int]:
    """Search every interleaving: the shortest trace to a stale read, or None, and the number of states."""
    start = S(0, None, None, 0, None, None, (("idle",),) * 3)
    came_from: dict[S, tuple[str, S] | None] = {start: None}
    queue = deque([start])
    while queue:
        s = queue.popleft()
        for label, after, broken in steps(s, rule, outage=outage):
            if broken:
                trace = [broken]
                at = s
                while (step := came_from[at]) is not None:
                    trace.append(step[0])
                    at = step[1]
                return trace[::-1], len(came_from)
            if after not in came_from:
                came_from[after] = (label, s)
                queue.append(after)
    return None, len(came_from)


if __name__ == "__main__":
    wrong = 0
    for (rule, outage), ours in RULES.items():
        trace, states = explore(rule, outage=outage)
        wrong += (trace is None) != ours
        print(f"{'BROKEN' if trace else 'HOLDS '} {rule}{', no server' if outage else ''} ({states} states)")
        if trace:
            print("       " + " · ".join(trace))
    raise SystemExit(bool(wrong))

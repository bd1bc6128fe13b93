"""The coherence protocol of django_cacheaside as an executable specification.

``read``, ``acquire``, ``fill``, ``abandon``, ``intent``, ``release``, ``intent_all``, ``release_all`` and ``flush`` say
what each server-side script does to the three keys of one row. They are the specification: ``test_scripts`` holds the
Lua scripts to them, state for state. ``explore`` runs every interleaving of writers and readers over them, with faults,
and looks for a read that breaks a promise.

    python -m tests.laws.model             the protocol as specified: every line says HOLDS (half a minute)
    python -m tests.laws.model --mutate    one guard removed at a time: every line says BROKEN, with the shortest trace
                                           found; a guard is only tried under faults where the intact protocol HOLDS

Keys of one row, all in one hash slot
    E  entry   None | ("V", value, epoch) | ("W", {token, ...})     W = write intents, one token per transaction
    L  lease   None | token                                          the one reader that may fill
    G  epoch   None | (nonce, run) | ("W", {token, ...})             one per model; run = the server's run id

Promises
    always          a read returns no row older than the newest commit when the read began
    after release   the same, but only commits whose writer has finished its release count (what is left when an intent
                    is lost, or a COMMIT outlasts its intent; a writer that is killed on top of that leaves the TTL)

Faults
    crash           a writer dies at any step          lose     an intent vanishes while its transaction is open
    expire          values, leases, epochs vanish      slow     an intent runs out before its COMMIT has ended
    unknown         the connection is lost at COMMIT   rewind   the server restarts from an old snapshot, no commit open
"""

# E, L and G are the keys of the drawing, no constants; the command prints.
# ruff: noqa: SIM300, T201

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

Token = Hashable
Epoch = tuple[Hashable, Hashable]
"""The nonce, and the run id of the server."""


class Keys(NamedTuple):
    """The three keys of one row."""

    E: Any
    L: Token | None
    G: Any


NOTHING = Keys(None, None, None)

GUARDS = frozenset(
    {
        "acquire-sees-intent",
        "fill-checks-lease",
        "token-set",
        "intent-voids-lease",
        "release-acts-on-anything",
        "intent-before-commit",
        "unknown-outcome-keeps-intent",
        "epoch-carries-run",
    }
)
"""What the protocol can't do without: each can be taken out, to see which promise breaks."""


def is_intent(x: Any) -> bool:
    return isinstance(x, tuple) and x[0] == "W"


# --- the scripts -----------------------------------------------------------------------------------------------------


def current(epoch: Any, run: Hashable, guards: frozenset[str] = GUARDS) -> Epoch | None:
    """The epoch that entries must carry to be served, or None."""
    if epoch is None or is_intent(epoch) or ("epoch-carries-run" in guards and epoch[1] != run):
        return None
    return epoch


def read(k: Keys, run: Hashable, guards: frozenset[str] = GUARDS) -> str:
    """One MGET of (G, E), no script. HIT | MISS | BYPASS (read the primary database, do not fill)."""
    if is_intent(k.G) or is_intent(k.E):
        return "BYPASS"
    epoch = current(k.G, run, guards)
    return "HIT" if epoch is not None and k.E is not None and k.E[2] == epoch else "MISS"


def acquire(
    k: Keys,
    token: Token,
    nonce: Hashable,
    run: Hashable,
    guards: frozenset[str] = GUARDS,
    seen: Any = None,
    steal: Token | None = None,
) -> tuple[Keys, tuple[str, Any]]:
    """OWN epoch | WAIT lease | BYPASS | VALUE. Only OWN may fill.

    seen: the entry as the reader found it and can't use (undecodable, another schema, the wrong row of a unique key),
    or wants to refresh while it is still served; an equal entry counts as absent. steal: the lease a waiter has watched
    for longer than its patience.
    """
    if is_intent(k.G) or ("acquire-sees-intent" in guards and is_intent(k.E)):
        return k, ("BYPASS", None)
    epoch = current(k.G, run, guards) or (nonce, run)
    k = k._replace(G=epoch)
    if k.E is not None and not is_intent(k.E) and k.E[2] == epoch and k.E != seen:
        return k, ("VALUE", k.E[1])
    if k.L is None or k.L in (token, steal):
        return k._replace(L=token), ("OWN", epoch)
    return k, ("WAIT", k.L)


def fill(k: Keys, token: Token, epoch: Epoch, value: Any, guards: frozenset[str] = GUARDS) -> Keys:
    """Store the loaded row, but only under the reader's own lease."""
    if "fill-checks-lease" in guards and k.L != token:
        return k
    if "acquire-sees-intent" in guards and is_intent(k.E):
        return k
    return k._replace(E=("V", value, epoch), L=None if k.L == token else k.L)


def abandon(k: Keys, token: Token) -> Keys:
    """The load failed: let the next reader try at once."""
    return k._replace(L=None) if k.L == token else k


def intent(k: Keys, token: Token, guards: frozenset[str] = GUARDS) -> Keys:
    """Before COMMIT: the old value goes, leases are void, readers bypass."""
    old = k.E[1] if is_intent(k.E) and "token-set" in guards else frozenset()
    return k._replace(E=("W", old | {token}), L=None if "intent-voids-lease" in guards else k.L)


def release(k: Keys, token: Token, guards: frozenset[str] = GUARDS) -> Keys:
    """After COMMIT was acknowledged. Acts on whatever it finds: only live intents of others are kept."""
    if is_intent(k.E):
        left = k.E[1] - {token}
        return k._replace(E=("W", left) if left else None, L=None)
    if "release-acts-on-anything" in guards:
        return k._replace(E=None, L=None)
    return k


def intent_all(k: Keys, token: Token, guards: frozenset[str] = GUARDS) -> Keys:
    """As intent, for a write whose rows are many or unknown: one key stops the whole model."""
    old = k.G[1] if is_intent(k.G) else frozenset()
    return k._replace(G=("W", old | {token}))


def release_all(k: Keys, token: Token, guards: frozenset[str] = GUARDS) -> Keys:
    """As release, for the whole model."""
    if is_intent(k.G):
        left = k.G[1] - {token}
        return k._replace(G=("W", left) if left else None)
    return k._replace(G=None) if "release-acts-on-anything" in guards else k


def flush(k: Keys) -> Keys:
    """Drop every value of the model; an intent stays, because its COMMIT is still open."""
    return k if is_intent(k.G) else k._replace(G=None)


# --- every interleaving ----------------------------------------------------------------------------------------------


class State(NamedTuple):
    db: tuple[int, ...]
    locks: tuple[int | None, ...]
    k: Keys
    ws: tuple[str, ...]
    rs: tuple[tuple[Any, ...], ...]
    nonces: int
    run: int
    saved: Keys | None


def explore(
    writers: tuple[str, ...],
    readers: tuple[int, ...],
    *,
    same_row: bool = True,
    faults: Iterable[str] = (),
    promise: str = "always",
    guards: frozenset[str] = GUARDS,
    limit: int = 4_000_000,
) -> tuple[list[str] | None, int]:
    """Run every interleaving: the shortest trace of a violation or None, and how many states there are.

    writers: 'row' or 'all' each. readers: how many reads each makes.
    """
    faults = frozenset(faults)
    rows = 1 if same_row else len(writers)
    idle = tuple(("idle", n) for n in readers)
    start = State((0,) * rows, (None,) * rows, NOTHING, ("start",) * len(writers), idle, 0, 0, None)
    came_from: dict[State, tuple[str, State] | None] = {start: None}
    queue = deque([start])
    while queue:
        s = queue.popleft()
        for label, after, broken in steps_of(s, writers, same_row, faults, promise, guards):
            if broken:
                trace, step = [broken], came_from[s]
                while step:
                    trace.append(step[0])
                    step = came_from[step[1]]
                return trace[::-1], len(came_from)
            if after not in came_from and after.nonces <= 6:
                came_from[after] = (label, s)
                queue.append(after)
                if len(came_from) > limit:
                    raise RuntimeError("too large")
    return None, len(came_from)


def steps_of(
    s: State, writers: tuple[str, ...], same_row: bool, faults: frozenset[str], promise: str, guards: frozenset[str]
) -> list[tuple[str, State, str | None]]:
    """What may happen next: (what it is, the state after it, the promise that it breaks or None)."""
    db, locks, k, ws, rs = s.db, s.locks, s.k, s.ws, s.rs
    steps: list[tuple[str, State, str | None]] = []

    def add(label: str, broken: str | None = None, **change: Any) -> None:
        steps.append((label, s._replace(**change), broken))

    def w(i: int, phase: str) -> tuple[str, ...]:
        return (*ws[:i], phase, *ws[i + 1 :])

    def r(i: int, *phase: Any) -> tuple[tuple[Any, ...], ...]:
        return (*rs[:i], phase, *rs[i + 1 :])

    open_ = {f"w{i}" for i, p in enumerate(ws) if p in ("intended", "commit-sent", "committed", "late")}
    if "expire" in faults:
        if k.L is not None:
            add("lease expires", k=k._replace(L=None))
        if k.E is not None and not is_intent(k.E):
            add("value expires", k=k._replace(E=None))
        if k.G is not None and not is_intent(k.G):
            add("epoch evicted", k=k._replace(G=None))
    for name, x in (("E", k.E), ("G", k.G)):
        if is_intent(x):
            dead = x[1] - open_
            if dead:
                left = x[1] - dead
                add("dead intents expire", k=k._replace(**{name: ("W", left) if left else None}))
            is_slow = any(ws[int(t[1:])] in ("intended", "commit-sent") for t in x[1] & open_)
            if "lose" in faults or ("slow" in faults and is_slow):
                add("INTENT GONE while open", k=k._replace(**{name: None}))
    if "rewind" in faults and not open_:
        if s.saved is None:
            add("snapshot saved", saved=k)
        elif s.run == 0:
            add("SERVER RESTARTS from the snapshot", k=s.saved, run=1)

    for i, phase in enumerate(ws):
        row = 0 if same_row else i
        token = f"w{i}"
        place, drop = (intent, release) if writers[i] == "row" else (intent_all, release_all)
        freed = (*locks[:row], None, *locks[row + 1 :])
        newdb = (*db[:row], db[row] + 1, *db[row + 1 :])
        if phase == "start" and locks[row] is None:
            add(f"{token} UPDATE", ws=w(i, "updated"), locks=(*locks[:row], i, *locks[row + 1 :]))
        elif phase == "updated":
            if "intent-before-commit" in guards:
                add(f"{token} intent", ws=w(i, "intended"), k=place(k, token, guards))
            else:
                add(f"{token} (no intent)", ws=w(i, "intended"))
            add(f"{token} rolls back", ws=w(i, "done"), locks=freed)
        elif phase == "intended":
            add(f"{token} COMMIT", ws=w(i, "committed"), db=newdb, locks=freed)
            add(f"{token} COMMIT surely failed, released", ws=w(i, "done"), locks=freed, k=drop(k, token, guards))
            if "unknown" in faults:
                add(f"{token} COMMIT sent, connection lost", ws=w(i, "commit-sent"))
        elif phase == "commit-sent":
            if "unknown-outcome-keeps-intent" in guards:
                add(f"server commits {token}", ws=w(i, "gone"), db=newdb, locks=freed)
            else:
                add(f"{token} released as if rolled back", ws=w(i, "late"), k=drop(k, token, guards))
        elif phase == "late":
            add(f"server commits {token} late", ws=w(i, "gone"), db=newdb, locks=freed)
        elif phase == "committed":
            add(f"{token} release", ws=w(i, "done"), k=drop(k, token, guards))
        if "crash" in faults and phase in ("updated", "intended", "committed"):
            add(f"{token} DIES after {phase}", ws=w(i, "gone"), locks=tuple(None if x == i else x for x in locks))

    unreleased = [0 if same_row else i for i, p in enumerate(ws) if p not in ("start", "updated", "done")]
    floor = db if promise == "always" else tuple(0 if row in unreleased else v for row, v in enumerate(db))
    for i, rd in enumerate(rs):
        if rd[0] == "idle" and rd[1] > 0:
            kind = read(k, s.run, guards)
            if kind == "HIT":
                add(f"r{i} begins, HIT {k.E[1]}", rs=r(i, "return", rd[1], floor, k.E[1]))
                if rd[1] == 1:
                    add(f"r{i} begins, refreshes {k.E[1]}", rs=r(i, "acquire", rd[1], floor, k.E, None))
            elif kind == "BYPASS":
                add(f"r{i} begins, bypasses", rs=r(i, "load", rd[1], floor, None, None))
            else:
                add(f"r{i} begins, misses", rs=r(i, "acquire", rd[1], floor, k.E if not is_intent(k.E) else None, None))
        elif rd[0] == "acquire":
            token = f"r{i}.{rd[1]}"
            k2, (kind, got) = acquire(k, token, f"n{s.nonces}", s.run, guards, seen=rd[3], steal=rd[4])
            fresh = s.nonces + (k2.G != k.G)
            if kind == "OWN":
                label = f"r{i} leases" + (" (takes over)" if rd[4] else "")
                add(label, k=k2, nonces=fresh, rs=r(i, "load", rd[1], rd[2], token, got))
            elif kind == "VALUE":
                # found, but the read began earlier: what it finds was put there under the same rules
                add(f"r{i} finds {got}", k=k2, nonces=fresh, rs=r(i, "return", rd[1], rd[2], got))
            elif kind == "WAIT" and rd[4] is None:
                add(f"r{i} waits for {got}", k=k2, nonces=fresh, rs=r(i, "acquire", rd[1], rd[2], rd[3], got))
            else:
                label = f"r{i} gives up waiting" if kind == "WAIT" else f"r{i} bypasses"
                add(label, k=k2, nonces=fresh, rs=r(i, "load", rd[1], rd[2], None, None))
        elif rd[0] == "load":
            add(f"r{i} loads {db}", rs=r(i, "fill", rd[1], rd[2], rd[3], rd[4], db))
            if rd[3]:
                add(f"r{i} fails to load, abandons", k=abandon(k, rd[3]), rs=r(i, "idle", rd[1] - 1))
        elif rd[0] == "fill":
            if rd[3]:
                add(
                    f"r{i} fills {rd[5]}",
                    k=fill(k, rd[3], rd[4], rd[5], guards),
                    rs=r(i, "return", rd[1], rd[2], rd[5]),
                )
            else:
                add(f"r{i} does not fill", rs=r(i, "return", rd[1], rd[2], rd[5]))
        elif rd[0] == "return":
            old = any(seen < committed for seen, committed in zip(rd[3], rd[2], strict=True))
            broken = f"r{i} RETURNS {rd[3]} although {rd[2]} was committed when it began" if old else None
            add(f"r{i} returns {rd[3]}", broken, rs=r(i, "idle", rd[1] - 1))
    return steps


USUAL = ("crash", "expire", "unknown")
SETUPS: list[tuple[str, dict[str, Any]]] = [
    ("one row, two writers", {"writers": ("row", "row"), "readers": (1, 1), "faults": USUAL}),
    (
        "one key over two rows, two writers",
        {"writers": ("row", "row"), "readers": (1, 1), "same_row": False, "faults": USUAL},
    ),
    ("row writer and model writer", {"writers": ("row", "all"), "readers": (1, 1), "same_row": False, "faults": USUAL}),
    (
        "two model writers",
        {"writers": ("all", "all"), "readers": (1, 1), "same_row": False, "faults": ("crash", "unknown")},
    ),
    ("one writer, three readers", {"writers": ("row",), "readers": (1, 1, 1), "faults": ("crash", "expire")}),
    ("the server rewinds", {"writers": ("row",), "readers": (1, 1), "faults": ("crash", "rewind")}),
    (
        "intents are lost, after release",
        {"writers": ("row", "row"), "readers": (1, 1), "faults": ("expire", "lose"), "promise": "after release"},
    ),
    (
        "model intents are lost, after release",
        {"writers": ("all",), "readers": (1, 1), "faults": ("expire", "lose"), "promise": "after release"},
    ),
    (
        "COMMIT outlasts its intent, after release",
        {"writers": ("row",), "readers": (1, 1), "faults": ("expire", "slow"), "promise": "after release"},
    ),
]


def main() -> bool:
    """Print what holds and what is broken. True if all is as it should be."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--mutate", action="store_true", help="remove one guard at a time and show the counterexample")
    if p.parse_args().mutate:
        is_shown = [_shows_what_breaks(guard) for guard in sorted(GUARDS)]
        return all(is_shown)
    is_good = True
    for name, setup in SETUPS:
        trace, states = explore(**setup)
        is_good = is_good and trace is None
        title = f"{'BROKEN' if trace else 'HOLDS '} {name} ({states} states)"
        print(title, *(trace or []), sep="\n       ", flush=True)
    return is_good


def _shows_what_breaks(guard: str) -> bool:
    best: tuple[str, list[str]] | None = None
    for name, setup in SETUPS:
        trace, _ = explore(**setup, guards=GUARDS - {guard})
        if trace and (best is None or len(trace) < len(best[1])):
            best = (name, trace)
        if best and len(best[1]) < 12:
            break
    if best is None:
        print(f"HOLDS  without {guard}: no counterexample", flush=True)
    else:
        print(f"BROKEN without {guard}: {best[0]}\n       " + " · ".join(best[1]), flush=True)
    return best is not None


if __name__ == "__main__":
    raise SystemExit(not main())

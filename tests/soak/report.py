"""The table of one soak, and its closing line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from tests.soak.history import NEVER_S, Old, by_age
from tests.soak.run import BOUNDS_S, GRACE_S, RELAYED_S, Outcome

AGES_S = (0.01, 0.1, 1.0, RELAYED_S)
SHOWN = 3
"""So many reads of each kind beyond the bounds are printed one by one."""


def report(outcome: Outcome, *, title: str, must_fail: bool = False) -> str:
    """All lines. ``must_fail``: of the control that has to find old rows."""
    return "\n".join(_lines(outcome, title, must_fail)) + "\n"


def _lines(outcome: Outcome, title: str, must_fail: bool) -> Iterator[str]:
    verdict = outcome.verdict
    yield title
    served = outcome.hits / max(1, outcome.hits + outcome.misses)
    yield _line("reads", verdict.reads, f"{served:.0%} of the rows from the cache")
    yield _line("commits", outcome.commits, f"{outcome.unknown} more of unknown outcome")
    yield _line("not announced", sum(outcome.unannounced.values()), _counted(outcome.unannounced))
    yield _line("faults", sum(outcome.faults.values()), _counted(outcome.faults))
    yield _line("stale reads", len(verdict.stale), _ages(verdict.stale))
    for cause in sorted({one.replaced_by.cause for one in verdict.stale}):
        its = [one for one in verdict.stale if one.replaced_by.cause == cause]
        yield _line(f"  longest, {cause}", _longest(its), f"of {len(its)}; allowed: {BOUNDS_S.get(cause, 0):g} s")
    yield _line("  longest staleness", _longest(verdict.stale))
    yield _line("excused stale reads", len(verdict.excused), _ages(verdict.excused))
    for cause, bound_s in BOUNDS_S.items():
        its = [one for one in verdict.excused if one.replaced_by.cause == cause]
        yield _line(f"  longest, {cause}", _longest(its), f"of {len(its)}; allowed: {bound_s:g} s")
    yield _line("permanent staleness", len(verdict.permanent), f"rows still old after {GRACE_S:g} s of calm")
    yield _line("dirty reads", len(verdict.dirty))
    yield _line("non-monotonic reads", len(verdict.backwards), f"{verdict.backwards_excused} more excused")
    yield _line("errors", len(outcome.errors))
    yield from _what_was_found(outcome)
    found = (
        f"{len(verdict.stale)} stale reads, {len(verdict.dirty)} dirty, {len(verdict.backwards)} non-monotonic, "
        f"{len(verdict.permanent)} rows old for good, {len(outcome.errors)} errors"
    )
    if must_fail:
        blind = "control FAILED: the checker finds no old row where nothing is invalidated"
        yield f"control: old rows are found, as they must be: {found}" if verdict.stale else blind
    elif outcome.is_well:
        yield f"OK: {verdict.reads} reads beside {outcome.commits} commits, none beyond the bounds"
    else:
        yield f"FAILED: {found}"


def _line(name: str, figure: object, remark: str = "") -> str:
    return f"  {name:<28}{figure:>10}  {remark}".rstrip()


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _ages(old: Sequence[Old]) -> str:
    names = [*(f"< {step:g} s" for step in AGES_S), "older"]
    return ", ".join(f"{count} {name}" for count, name in zip(by_age(old, AGES_S), names, strict=True) if count)


def _longest(old: Sequence[Old]) -> str:
    return f"{max((one.age_s for one in old), default=0.0):.3f} s"


def _what_was_found(outcome: Outcome) -> Iterator[str]:
    """The first of each kind, with what happened before."""
    verdict = outcome.verdict
    causes = {one.replaced_by.cause for one in verdict.stale}
    firsts = [[one for one in verdict.stale if one.replaced_by.cause == cause][:SHOWN] for cause in sorted(causes)]
    for one in chain.from_iterable(firsts):
        read, write = one.read, one.replaced_by
        yield (
            f"stale: reader {read.reader} {read.way} {read.subject}: version {read.version}, {one.age_s:.4f} s after "
            f"{write.version} by writer {write.writer} ({write.act}, {write.cause})"
        )
        yield from _near(outcome, read.began_s)
    for read in verdict.dirty[:SHOWN]:
        yield f"dirty: reader {read.reader} {read.way} {read.subject}: version {read.version}"
        yield from _near(outcome, read.began_s)
    for read in verdict.backwards[:SHOWN]:
        yield f"non-monotonic: reader {read.reader} {read.way} {read.subject}: version {read.version}"
        yield from _near(outcome, read.began_s)
    for read in verdict.permanent[:SHOWN]:
        yield f"old for good: reader {read.reader} {read.way} {read.subject}: version {read.version}"
        last = [write for write in outcome.writes if write.subject == read.subject and write.version > read.version]
        for write in last[:3]:
            known = "unknown" if write.acked_s == NEVER_S else f"{read.began_s - write.acked_s:.3f} s before"
            yield f"    version {write.version}: {write.act} by writer {write.writer}, {write.cause}, {known}"
    for error in outcome.errors[:SHOWN]:
        yield f"error: {error}"


def _near(outcome: Outcome, at_s: float) -> Iterator[str]:
    for window in outcome.windows:
        if at_s - 6 < window.began_s < at_s:
            whom = "" if window.writer is None else f" of writer {window.writer}"
            end = "until now" if window.ended_s > at_s else f"to {at_s - window.ended_s:.3f} s before"
            yield f"    {at_s - window.began_s:.3f} s {end}: {window.name}{whom}"

"""A mistake in the settings, said so that it can be mended."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in the settings: a check's id, what is wrong, and what to do."""

    id: str
    message: str
    hint: str


def nearest(word: str, words: tuple[str, ...]) -> str:
    """``Did you mean …?`` for a misspelt word, else the list of what there is."""
    close = get_close_matches(word, words, n=1, cutoff=0.5) or get_close_matches(word.upper(), words, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(words)}."

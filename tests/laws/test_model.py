"""The specification itself, on the small setups; ``python -m tests.laws.model`` runs them all."""

from __future__ import annotations

import pytest

from tests.laws.model import GUARDS, SETUPS, explore

ALL = dict(SETUPS)
SMALL = [
    "the server rewinds",
    "model intents are lost, after release",
    "COMMIT outlasts its intent, after release",
]
QUICK = {
    "acquire-sees-intent": "one row, two writers",
    "epoch-carries-run": "the server rewinds",
    "fill-checks-lease": "the server rewinds",
    "intent-before-commit": "the server rewinds",
    "intent-voids-lease": "the server rewinds",
    "release-acts-on-anything": "COMMIT outlasts its intent, after release",
    "token-set": "one key over two rows, two writers",
    "unknown-outcome-keeps-intent": "one row, two writers",
}


class TestModel:
    @pytest.mark.parametrize("setup", SMALL)
    def test_keeps_its_promise(self, setup: str) -> None:
        trace, _ = explore(**ALL[setup])
        assert trace is None

    @pytest.mark.parametrize("guard", sorted(GUARDS))
    def test_breaks_it_without(self, guard: str) -> None:
        """A guard that nothing needs would be one too many."""
        trace, _ = explore(**ALL[QUICK[guard]], guards=GUARDS - {guard})
        assert trace
        assert "although" in trace[-1]

"""The rules by which a process shares loads, searched over every interleaving."""

from __future__ import annotations

import pytest

from tests.laws.flight import RULES, explore


class TestRules:
    @pytest.mark.parametrize(
        ("rule", "outage", "holds"),
        [pytest.param(*key, holds, id=f"{key[0]}{', no server' if key[1] else ''}") for key, holds in RULES.items()],
    )
    def test_hold_or_break(self, rule: str, outage: bool, holds: bool) -> None:
        """Exactly the two that the engine uses hold; the others are kept as the reason why."""
        trace, states = explore(rule, outage=outage)
        assert (trace is None) == holds
        assert states > 1000

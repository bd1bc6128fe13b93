"""How long things live: an epoch outlives whatever is filled under it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from django_cacheaside.engine.policy import Policy

DAYS_MS = 30 * 86_400_000

policies = st.builds(
    Policy,
    ttl_ms=st.integers(100, DAYS_MS),
    jitter=st.floats(0, 1),
    negative_ttl_ms=st.integers(0, DAYS_MS),
    lease_ms=st.integers(100, 300_000),
    wait_ms=st.integers(0, 60_000),
    stale_ms=st.integers(0, DAYS_MS),
)


class TestPolicy:
    @given(policy=policies)
    def test_the_epoch_outlives_every_entry_filled_under_it(self, policy: Policy) -> None:
        """An entry whose epoch is gone is a miss: a value could not be served stale to its end."""
        longest_ms = max(policy.ttl_ms, policy.negative_ttl_ms) * (1 + policy.jitter) + policy.stale_ms
        assert policy.epoch_ms / 2 > longest_ms, "it is extended when less than half is left"

    @given(policy=policies, base_ms=st.integers(0, DAYS_MS))
    def test_jitter_only_adds(self, policy: Policy, base_ms: int) -> None:
        assert base_ms <= policy.life_ms(base_ms) <= base_ms * (1 + policy.jitter)

    def test_jitter_spreads(self) -> None:
        """Rows filled together would expire together, and be loaded together."""
        policy = Policy(ttl_ms=300_000, jitter=0.1, negative_ttl_ms=0, lease_ms=1, wait_ms=1)
        lives = {policy.life_ms(policy.ttl_ms) for _ in range(100)}
        assert len(lives) > 50
        assert max(lives) - min(lives) > 10_000

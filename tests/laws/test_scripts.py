"""The scripts do what the model says, on the newest Valkey and on the oldest Redis, whatever happens to the keys."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.steps import KINDS, Step
from tests.laws.twin import Server, Twin

SCHEDULES = 500
STEPS_EACH = 32

# Hypothesis draws evenly from small ranges only (a long list's first items come far too often): hence two numbers, each
# below 127.
steps = st.tuples(st.integers(0, len(KINDS) - 1), st.integers(0, 126)).map(
    lambda drawn: KINDS[drawn[0]][drawn[1] % len(KINDS[drawn[0]])]
)


class TestScripts:
    @settings(max_examples=SCHEDULES, deadline=None, derandomize=True, database=None)
    @given(schedule=st.lists(steps, min_size=STEPS_EACH, max_size=STEPS_EACH + 8))
    def test_agree_with_the_model(self, valkey: Server, redis62: Server, schedule: list[Step]) -> None:
        """Every answer, every key's meaning and every key's life, after every step of every schedule.

        Derandomized: the same schedules in every run, so that a red build is red at home too.
        """
        for server in (valkey, redis62):
            Twin(server).play(schedule)

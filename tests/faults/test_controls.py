"""These tests can fail: without its guard, everybody goes on as before, and readers are found to have seen old rows.

Only where the fault's moment is forced: a kill at random may well miss the moment that a guard is for.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults import test_killed, test_lost_connections, test_lost_keys, test_redis_away
from tests.faults.scene import Scene

pytestmark = pytest.mark.faults

killed = test_killed.TestKilled()
lost = test_lost_connections.TestUnknownOutcome()

CONTROLS: list[tuple[str, str, Callable[[Scene], None]]] = [
    ("killed behind COMMIT", "no_intents", lambda scene: killed.test_between_commit_and_release(scene, "in atomic")),
    ("of unknown rows", "no_intents", lambda scene: killed.test_between_commit_and_release(scene, "of unknown rows")),
    ("COMMIT on the way", "no_intents", lambda scene: killed.test_with_its_commit_on_the_way(scene, "in autocommit")),
    (
        "half a release",
        "no_intents",
        lambda scene: test_killed.TestKilledInTheMiddleOfARelease().test_half_of_it_has_arrived(scene),
    ),
    ("COMMIT unanswered", "no_intents", lambda scene: lost.test_committed(scene, "in atomic")),
    ("COMMIT later", "unknown_commits_released", lambda scene: lost.test_committed_later(scene, "in atomic")),
    (
        "back after it hung",
        "nothing_made_good",
        lambda scene: test_redis_away.TestBackForAll().test_what_it_writes_is_never_seen_old(scene, "hung"),
    ),
    (
        "back after a restart",
        "nobody_settles",
        lambda scene: test_redis_away.TestBackForAll().test_what_it_writes_is_never_seen_old(scene, "restarted"),
    ),
    (
        "away for the writer",
        "nothing_made_good",
        lambda scene: test_redis_away.TestAwayForOne().test_writer(scene, "cut"),
    ),
    (
        "old snapshot",
        "runs_unread",
        lambda scene: test_redis_away.TestRewound().test_restarted_from_a_snapshot_older_than_the_last_writes(scene),
    ),
    (
        "lagging replica",
        "runs_unread",
        lambda scene: test_redis_away.TestRewound().test_failed_over_to_a_replica_whose_replication_was_paused(scene),
    ),
    (
        "intents lost",
        "release_only_own",
        lambda scene: test_lost_keys.TestIntentsLost().test_others_see_the_old_row_until_the_release(
            scene, test_lost_keys.deleted
        ),
    ),
    (
        "lease lost",
        "fill_ignores_lease_and_epoch",
        lambda scene: test_lost_keys.TestLeaseLost().test_by_flushall_between_lease_and_fill(scene),
    ),
    (
        "keys lost at random",
        "no_invalidation",
        lambda scene: test_lost_keys.TestKeysLost().test_at_random(scene),
    ),
]


@pytest.mark.parametrize(
    ("lose", "scenario"),
    [pytest.param(guard, scenario, id=f"{name}-{guard}") for name, guard, scenario in CONTROLS],
)
def test_old_rows_are_found(scene: Scene, scenario: Callable[[Scene], None]) -> None:
    with pytest.raises(AssertionError, match="stale reads"):
        scenario(scene)

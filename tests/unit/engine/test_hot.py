"""The keys that are asked for most: found, and in bounded memory."""

from __future__ import annotations

import gc
import itertools
import random
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_cacheaside.engine import hot
from django_cacheaside.engine.hot import MOST_KEPT, MOST_RECENT, HotKeys

KEYS = 100_000
DRAWS = 1_000_000


class TestHotKeys:
    @pytest.mark.parametrize("is_batch", [False, True], ids=["one by one", "in batches"])
    def test_finds_the_top_of_a_zipf_trace(self, is_batch: bool) -> None:
        """At least 18 of the top 20 are promised; a thousand counters find them all."""
        weights = list(itertools.accumulate(1 / rank for rank in range(1, KEYS + 1)))
        drawn = random.Random(2005).choices([str(key) for key in range(KEYS)], cum_weights=weights, k=DRAWS)
        keys = HotKeys()
        if is_batch:
            for at in range(0, DRAWS, 100):
                keys.add_all(drawn[at : at + 100])
        else:
            for key in drawn:
                keys.add(key)
        exact = Counter(drawn)
        found = keys.take(20)
        assert len(found.keys() & dict(exact.most_common(20)).keys()) >= 18
        assert all(reads <= exact[key] for key, reads in found.items())
        assert all(reads >= exact[key] - DRAWS / hot.MOST_KEPT for key, reads in found.items())

    @given(st.lists(st.integers(0, 40)), st.integers(1, 8), st.integers(1, 8))
    def test_is_never_off_by_more_than_its_share(self, drawn: list[int], kept: int, recent: int) -> None:
        """Of n reads and m counters: n / m, and who has more than that is found."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hot, "MOST_KEPT", kept)
            patch.setattr(hot, "MOST_RECENT", recent)
            keys = HotKeys()
            for key in drawn:
                keys.add(str(key))
            found = keys.take(len(drawn))
            exact = Counter(map(str, drawn))
            bound = len(drawn) / kept
            assert len(found) <= kept
            assert all(exact[key] - bound <= reads <= exact[key] for key, reads in found.items())
            assert {key for key, reads in exact.items() if reads > bound} <= found.keys()

    def test_keeps_no_more_keys_than_it_says(self) -> None:
        keys = HotKeys()
        for at in range(20 * hot.MOST_RECENT):
            keys.add(str(at))
            assert len(keys._recent) <= hot.MOST_RECENT
        assert len(keys._estimates) == len(keys._errors) == hot.MOST_KEPT

    def test_begins_anew_when_it_is_taken(self) -> None:
        keys = HotKeys()
        keys.add_all(["a", "b", "a"])
        assert keys.take(1) == {"a": 2}
        assert keys.take(1) == {}

    def test_counts_while_another_thread_takes(self) -> None:
        """Threads may lose counts to each other; none breaks, and no key is counted that was not asked for."""
        keys, failures = HotKeys(), []
        begin, end = threading.Barrier(4), threading.Event()

        def ask(name: str) -> None:
            try:
                begin.wait()
                for at in range(60_000):
                    keys.add(f"{name}{at % 5_000}")
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=ask, args=(name,)) for name in "xyz"]
        for thread in threads:
            thread.start()
        begin.wait()
        taken: Counter[str] = Counter()
        while any(thread.is_alive() for thread in threads):
            taken.update(keys.take(100))
        end.set()
        taken.update(keys.take(100))
        assert failures == []
        assert 0 < sum(taken.values()) <= 3 * 60_000
        assert {key[0] for key in taken} <= set("xyz")

    def test_merges_while_the_collector_lets_others_count(self) -> None:
        """Up to Python 3.11 any new object may start it, and what it runs may let another thread go on."""
        keys = HotKeys()
        for at in range(MOST_RECENT - 1):
            keys.add(f"k{at}")
        recent = keys._recent

        def count_on(phase: str, info: object) -> None:
            recent[f"late{len(recent)}"] = 1

        threshold = gc.get_threshold()
        gc.callbacks.append(count_on)
        gc.set_threshold(1)
        try:
            keys.add("last")
        finally:
            gc.set_threshold(*threshold)
            gc.callbacks.remove(count_on)
        assert len(keys.take(2 * MOST_RECENT)) >= MOST_KEPT

    def test_merges_while_another_thread_still_counts_into_what_it_merges(self) -> None:
        """Who was interrupted between taking the dict and counting into it goes on with the old one."""
        keys = HotKeys()

        class Late(str):
            def __hash__(self) -> int:
                late["counted late"] = 1
                return super().__hash__()

        late: dict[str, int] = {}
        keys.add(Late("a"))
        keys.add("b")
        late = keys._recent
        assert keys.take(5).keys() == {"a", "b"}

    def test_does_not_wait_for_another_thread_that_merges(self) -> None:
        """No lock on the way of a read: who can't have it goes on, and a later read merges."""
        keys = HotKeys()
        with keys._lock:
            for at in range(hot.MOST_RECENT + 10):
                keys.add(str(at))
        assert len(keys._recent) == hot.MOST_RECENT + 10
        keys.add("another")
        assert keys._recent == {}

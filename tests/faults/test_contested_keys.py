"""Processes whose keys don't meet, on one PostgreSQL and one Valkey: real ones, with real clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from example_project.embedded import EmbeddedValkey
from tests.app.models import Product
from tests.faults import prefixed
from tests.orm.process import Process
from tests.servers import VALKEY_URL

pytestmark = pytest.mark.usefixtures("commits")

Start = Callable[[str], Process]

ANNOUNCED_S = 2.5
"""How long an announcement of these processes counts: INTENT, and three times NOTICE_S."""

SOME_LOOKS_S = 0.3
"""Longer than EARLY_S: who reads all the while has looked."""


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, fresh_valkey: EmbeddedValkey) -> Iterator[Start]:
    """Start a process with a prefix, on a Valkey that knows nobody else; all end with the test."""
    monkeypatch.setenv(VALKEY_URL, fresh_valkey.url)
    with ExitStack() as stack:

        def with_prefix(prefix: str) -> Process:
            monkeypatch.setenv("CACHEASIDE_TEST_PREFIX", prefix)
            process = Process("tests.faults.prefixed_settings")
            stack.callback(process.close)
            return process

        yield with_prefix


def ask(process: Process, what: Callable[..., Any], *args: Any) -> Any:
    return process.call(f"{what.__module__}.{what.__name__}", *args)


def errors(process: Process) -> list[str]:
    return [text for level, text in ask(process, prefixed.said) if level == "ERROR"]


@pytest.fixture
def pk() -> int:
    """A row that nobody has read."""
    return int(Product.objects.create(version=0).pk)


class TestTwoPrefixes:
    def test_nobody_reads_what_the_other_has_replaced(self, start: Start, pk: int) -> None:
        """The newcomer's first COMMIT waits until all who were there have noticed it: not even then a hit is old."""
        old, new = start("old"), start("new")
        assert ask(old, prefixed.read, pk) == (0, False)
        assert ask(old, prefixed.read, pk) == (0, True)
        with ThreadPoolExecutor(1) as elsewhere:
            reading = elsewhere.submit(ask, old, prefixed.read_until_told, pk, 1, 10.0)
            committed_s = ask(new, prefixed.write, pk, 1)
            seen = reading.result()
        assert seen[-1][1] == 1
        assert [began_s for began_s, version in seen if version == 0 and began_s > committed_s] == []
        for process, mine, others in ((old, "old", "new"), (new, "new", "old")):
            ask(process, prefixed.read, pk)
            (error,) = errors(process)
            assert f"This one: KEY_PREFIX='{mine}'" in error
            assert f"Others: KEY_PREFIX='{others}'" in error
            assert ask(process, prefixed.contested_reads) > 0
            assert ask(process, prefixed.read, pk) == (1, False)

    def test_who_is_left_recovers_without_the_values_from_before(self, start: Start, pk: int) -> None:
        """As after a deploy that changes the prefix: what the others wrote was not voided under these keys."""
        stays, leaves = start("stays"), start("leaves")
        assert ask(stays, prefixed.read, pk) == (0, False)
        ask(leaves, prefixed.write, pk, 1)
        assert ask(stays, prefixed.read, pk) == (1, False)
        leaves.close()
        assert ask(stays, prefixed.wait_for_a_hit, pk, 3 * ANNOUNCED_S) == (1, True)
        assert [level for level, _ in ask(stays, prefixed.said)] == ["ERROR", "WARNING"]

    def test_who_comes_back_serves_nothing_from_its_former_life(self, start: Start, pk: int) -> None:
        """A deploy that is rolled back: its entries have outlived those who wrote past them."""
        first = start("first")
        ask(first, prefixed.read, pk)
        assert ask(first, prefixed.read, pk) == (0, True)
        first.close()
        second = start("second")
        ask(second, prefixed.write, pk, 1)
        second.close()
        again = start("first")
        assert ask(again, prefixed.read, pk)[0] == 1
        assert ask(again, prefixed.wait_for_a_hit, pk, 3 * ANNOUNCED_S) == (1, True)

    def test_an_evicted_record_is_written_anew(self, start: Start, pk: int) -> None:
        """What both have noticed they go on to notice."""
        one, other = start("one"), start("other")
        ask(one, prefixed.read, pk)
        ask(other, prefixed.read, pk)
        ask(one, prefixed.read_until_told, pk, -1, 2 * SOME_LOOKS_S)
        for _ in range(3):
            ask(one, prefixed.forget_the_record)
            for process in (one, other):
                ask(process, prefixed.read_until_told, pk, -1, SOME_LOOKS_S)
        assert (len(errors(one)), len(errors(other))) >= (1, 1)
        assert ask(other, prefixed.read, pk) == (0, False)


class TestOnePrefix:
    def test_processes_share_what_they_fill(self, start: Start, pk: int) -> None:
        one, other = start("same"), start("same")
        assert ask(one, prefixed.read, pk) == (0, False)
        assert ask(other, prefixed.read, pk) == (0, True)
        ask(one, prefixed.write, pk, 1)
        assert ask(other, prefixed.read, pk) == (1, False)
        assert errors(one) == errors(other) == []

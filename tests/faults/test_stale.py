"""Rows loaded again in the background, by real processes: nobody waits for it, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from django_cacheaside.store.envelope import FRESH_UNTIL
from tests.app.models import Product
from tests.faults import parts, readers
from tests.faults.nursery import Part
from tests.faults.scene import Scene, until

pytestmark = pytest.mark.faults

SETTINGS: dict[str, Any] = {
    "STALE": 600,
    "LEASE": 30,
    "WAIT": 0.05,
    "TIMEOUT": 5,
    "CONNECT_TIMEOUT": 5,
    "RELAY_INTERVAL": None,  # its thread has a connection of its own
}


def outlive(scene: Scene, pk: int, version: int) -> None:
    """The life of the row's value is over, and the row is another one: this process writes past the scene's server."""
    scene.server().setrange(scene.entry_key(pk), FRESH_UNTIL.start, bytes(8))
    Product.objects.filter(pk=pk).update(version=version)


def stale_row(scene: Scene, *made: Part) -> int:
    """A row of version 1, whose value of version 0 has outlived its life."""
    pk = scene.row()
    for part in made:
        assert part(readers.warm_up, pk) == 0
    outlive(scene, pk, 1)
    return pk


@contextmanager
def table_locked() -> Iterator[None]:
    """Every load stands at the database, and waits."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE app_product IN ACCESS EXCLUSIVE MODE")
        yield


def until_loading(part: Part) -> None:
    until(lambda: part(readers.background_threads) > 0, "a thread loads the row")


class TestStaleHit:
    def test_nobody_waits_for_the_load(self, scene: Scene) -> None:
        """The load stands at a lock; who has it made and all others are served meanwhile, in every process."""
        first, other = scene.part(**SETTINGS), scene.part(**SETTINGS)
        pk = stale_row(scene, first, other)
        with table_locked():
            for part in (first, other, first, other):
                assert part(readers.read_and_count, pk) == (0, 0)
            until_loading(first)
        for part in (first, other):
            until(lambda: part(readers.read_and_count, pk) == (1, 0), "the new row is served")  # noqa: B023
        loads = [part(readers.counts)["loads"] for part in (first, other)]
        assert sum(loads) == 2, "the first one, and one for all when it had outlived its life"

    def test_a_commit_meanwhile_is_seen_at_once(self, scene: Scene) -> None:
        """What the load finds is older than that commit: it is refused, and the old value is gone."""
        reader, writer = scene.part(**SETTINGS), scene.part(**SETTINGS)
        pk = stale_row(scene, reader)
        reader(readers.hold_background_at, "before-fill")
        assert reader(readers.read_and_count, pk) == (0, 0)
        until(lambda: reader(readers.counts)["loads"] == 2, "the row is loaded")
        writer(parts.write, "Product", pk, 2)
        assert reader(readers.read_and_count, pk)[0] == 2
        reader(readers.let_background_go)
        until(lambda: reader(readers.is_background_idle), "the thread has ended")
        assert reader(readers.read_and_count, pk)[0] == 2
        assert reader(readers.counts)["refused fills"] == 1

    def test_its_threads_end_and_their_connections_with_them(self, scene: Scene) -> None:
        part = scene.part(**SETTINGS)
        part(readers.name_connections)
        pk = stale_row(scene, part)
        assert part(readers.backends) == 1
        with table_locked():
            part(readers.read_and_count, pk)
            until(lambda: part(readers.backends) == 2, "it has a connection of its own")
        until(lambda: part(readers.is_background_idle), "the thread has ended")
        assert part(readers.backends) == 1

    def test_without_autocommit_the_reader_loads(self, scene: Scene) -> None:
        """A thread's first SELECT would begin a transaction that nobody ends; the next ones might see its snapshot."""
        part, plain = scene.part(**SETTINGS), scene.part(**SETTINGS)
        part(readers.forbid_autocommit)
        pk = stale_row(scene, plain)
        assert part(readers.read_and_count, pk) == (1, 1)
        assert part(readers.background_threads) == 0

    def test_a_fork_has_threads_of_its_own(self, scene: Scene) -> None:
        """The parent's stands at the database while it forks: the child has none of it, and does its work itself."""
        part = scene.part(**SETTINGS)
        pk, other = stale_row(scene, part), stale_row(scene, part)
        part(readers.hold_background_at, "before-load")
        assert part(readers.read_and_count, pk) == (0, 0)
        until_loading(part)
        assert part(readers.fork_and_read, other) == (0, 0, True)
        part(readers.let_background_go)
        until(lambda: part(readers.read_and_count, pk) == (1, 0), "the parent's goes on")


class TestOnWrite:
    def test_the_next_reader_hits(self, scene: Scene) -> None:
        """A reader of another process, without a statement, however many commits there were."""
        writer, reader = scene.part(**SETTINGS), scene.part(**SETTINGS)
        writer(readers.refresh_on_write)
        pk, server = scene.row(), scene.server()
        for version in range(1, 21):
            assert not isinstance(writer(parts.write, "Product", pk, version), str)
            if version % 10 == 0:
                until(lambda: writer(readers.is_background_idle), "it is loaded again")
                assert (server.get(scene.entry_key(pk)) or b"").startswith(b"\xcaV")
                assert reader(readers.read_and_count, pk) == (version, 0)

    def test_without_it_the_next_reader_loads(self, scene: Scene) -> None:
        writer, reader = scene.part(**SETTINGS), scene.part(**SETTINGS)
        pk = scene.row()
        writer(parts.write, "Product", pk, 1)
        assert writer(readers.background_threads) == 0
        assert reader(readers.read_and_count, pk) == (1, 1)

    def test_loads_nothing_while_the_server_is_away(self, scene: Scene) -> None:
        """Nothing could be filled, and the database has enough to do."""
        writer = scene.part(**SETTINGS)
        writer(readers.refresh_on_write)
        pk = scene.row()
        writer(readers.warm_up, pk)
        writer(readers.open_circuit)
        before = writer(readers.counts)
        writer(parts.write, "Product", pk, 1)
        assert writer(readers.background_threads) == 0
        after = writer(readers.counts)
        assert [after[one] - before[one] for one in ("loads", "database reads")] == [0, 0]

"""The server dies, hangs, or comes back with what it knew before; for all, or for one process only."""

from __future__ import annotations

import os
import signal

import pytest
import redis

from example_project.embedded import EmbeddedValkey
from tests.faults import parts
from tests.faults.judge import NEVER, until_relayed
from tests.faults.nursery import Part, PartError
from tests.faults.proxy import Proxy
from tests.faults.scene import PATIENT, READS, RECOVERY_S, RELAYED_S, Scene, until
from tests.unwell import hung, kill

pytestmark = pytest.mark.faults

SLOWLY_S = 1.5
"""Between two probes, where a commit has to come in between, in seconds."""


class TestAwayForAll:
    def test_killed_and_restarted_empty(self, scene: Scene) -> None:
        writer = scene.busy()
        scene.fault()
        kill(scene.valkey)
        scene.go_on_reading(READS // 2)
        scene.valkey.restart()
        scene.go_on_reading(READS // 2)
        commits = scene.settled(writer)
        scene.heal()
        scene.judge(NEVER, commits=commits)

    def test_killed_and_restarted_in_the_middle_of_nothing(self, scene: Scene) -> None:
        """What is written before the fault and after it: nobody has anything to make up for."""
        pk = scene.row()
        scene.reader()
        scene.reader()
        writer = scene.part()
        scene.begin()
        scene.commits.append(writer(parts.write, "Product", pk, 1))
        scene.until_cached(pk, 1)
        scene.fault()
        kill(scene.valkey)
        scene.go_on_reading(READS // 2)
        scene.valkey.restart()
        scene.commits.append(scene.part()(parts.write, "Product", pk, 2))
        scene.until_cached(pk, 2)
        scene.heal()
        scene.judge(NEVER)

    def test_hung_beyond_every_time_out(self, scene: Scene) -> None:
        """What was sent to it before it hung arrives when it goes on."""
        writer = scene.busy()
        assert scene.valkey.pid is not None
        scene.fault()
        os.kill(scene.valkey.pid, signal.SIGSTOP)
        scene.go_on_reading(READS)
        os.kill(scene.valkey.pid, signal.SIGCONT)
        commits = scene.settled(writer)
        scene.heal()
        scene.judge(NEVER, commits=commits)


class TestBackForAll:
    """The server is back, and a writer that found it away has not tried it again yet."""

    @pytest.mark.parametrize("how", ["restarted", "hung"])
    def test_what_it_writes_is_never_seen_old(self, scene: Scene, how: str) -> None:
        """Who has noticed waits until the writer must have, too. Nobody relays.

        Those that did not ask for it while it was restarted notice by its run id.
        """
        pk = scene.row()
        other = scene.row()
        scene.reader(RELAY_INTERVAL=None)
        writer = scene.part(RELAY_INTERVAL=None)
        scene.begin()
        for part in (writer, *scene.readers):
            part(parts.retry_every, SLOWLY_S)
        scene.fault()
        if how == "restarted":
            for reader in scene.readers:
                reader.freeze()
            kill(scene.valkey)
            scene.commits.append(writer(parts.write, "Product", other, 1))
            until(lambda: writer(parts.next_probe_s) > SLOWLY_S / 2, "the writer has tried it")
            scene.valkey.restart()
            for reader in scene.readers:
                reader.thaw()
            scene.go_on_reading(50)  # a reader that has not noticed has filled what is written next
        else:
            with hung(scene.valkey):
                scene.commits.append(writer(parts.write, "Product", other, 1))
                until(lambda: all(reader(parts.is_circuit_open) for reader in scene.readers), "all have noticed")
                until(lambda: writer(parts.next_probe_s) > SLOWLY_S / 2, "the writer has tried it")
        commit = writer(parts.write, "Product", pk, 1)
        assert not commit.is_guarded
        scene.commits.append(commit)
        scene.until_cached(pk, 1)
        scene.until_cached(other, 1)
        scene.heal()
        scene.judge(NEVER)

    def test_what_a_writer_leaves_that_died_is_never_seen_old(self, scene: Scene) -> None:
        """Only the journal knows. Nobody relays: who serves hits again has delivered it before."""
        pk = scene.row()
        line, url = scene.redis_proxy()
        scene.reader(RELAY_INTERVAL=None)
        writer = scene.part(redis_url=url, RELAY_INTERVAL=None)
        scene.begin()
        scene.fault()
        with hung(scene.valkey):
            line.cut()  # nothing of what it sends arrives later
            commit = writer(parts.write, "Product", pk, 1)
            assert not commit.is_guarded
            scene.commits.append(commit)
            writer.kill()
            until(lambda: all(reader(parts.is_circuit_open) for reader in scene.readers), "all have noticed")
        scene.until_cached(pk, 1)
        scene.heal()
        scene.judge(NEVER)

    def test_an_idle_process_gets_back(self, scene: Scene) -> None:
        """By itself: its next request need not find out."""
        pk = scene.row()
        scene.reader()
        writer = scene.part()
        scene.begin()
        scene.fault()
        kill(scene.valkey)
        scene.commits.append(writer(parts.write, "Product", pk, 1))
        assert writer(parts.is_circuit_open)
        scene.valkey.restart()
        until(lambda: not writer(parts.is_circuit_open), "its circuit is closed", 5.0)
        scene.until_cached(pk, 1)
        scene.heal()
        scene.judge(NEVER)

    def test_a_process_that_writes_all_the_time_gets_back(self, scene: Scene) -> None:
        """At any moment one of its threads has a COMMIT open that was not announced.

        Who has seen what is not judged here: parts tells the commits of one thread apart, not those of six.
        """
        pks = [scene.row() for _ in range(6)]
        line, url = scene.redis_proxy()
        scene.reader()
        writer = scene.part(redis_url=url)
        scene.begin()
        writer(parts.write_on, "Product", pks, every_s=0.0, threads=len(pks))
        scene.fault()
        line.cut()
        scene.go_on_reading(READS)
        line.mend()
        until(lambda: not writer(parts.is_circuit_open), "its circuit is closed", 5.0)
        writer(parts.stop_writing, RECOVERY_S)
        scene.heal()


class TestRewound:
    def test_restarted_from_a_snapshot_older_than_the_last_writes(self, scene: Scene) -> None:
        """The old value comes back with its epoch. Nobody writes any more: only the run id gives it away."""
        pk = scene.row()
        scene.reader()
        scene.reader()
        writer = scene.part()
        scene.begin()
        scene.server().save()
        scene.commits.append(writer(parts.write, "Product", pk, 1))
        scene.until_cached(pk, 1)
        scene.fault()
        kill(scene.valkey)
        scene.valkey.restart(keep_dump=True)
        scene.until_cached(pk, 1)
        scene.heal()
        scene.judge(NEVER)

    def test_failed_over_to_a_replica_whose_replication_was_paused(self, scene: Scene) -> None:
        """The replica still has the old value; it becomes the primary behind the address that everybody uses."""
        pk = scene.row()
        address, url = scene.redis_proxy()
        feed = scene.enter(Proxy(("127.0.0.1", 0), address.upstream))
        scene.reader(redis_url=url)
        scene.reader(redis_url=url)
        writer = scene.part(redis_url=url)
        scene.begin()
        replica: EmbeddedValkey = scene.enter(EmbeddedValkey(replicaof="{} {}".format(*feed.address)))
        with redis.Redis.from_url(replica.url) as client:
            until(lambda: client.info("replication")["master_link_status"] == "up", "the replica is in step")
            feed.hang()
            scene.commits.append(writer(parts.write, "Product", pk, 1))
            scene.until_cached(pk, 1)
            scene.fault()
            address.upstream = f"{replica.directory}/socket"
            client.replicaof("NO", "ONE")
        kill(scene.valkey)
        scene.until_cached(pk, 1)
        scene.heal()
        scene.judge(NEVER)


class TestAwayForOne:
    def test_reader(self, scene: Scene) -> None:
        """It reads the database, and what it knew before is not what it goes on with."""
        pk = scene.row()
        line, url = scene.redis_proxy()
        cut_off = scene.reader(redis_url=url)
        scene.reader()
        writer = scene.part(**PATIENT)
        scene.begin()
        writer(parts.write_on, "Product", [pk], every_s=0.02)
        scene.go_on_reading(200)
        scene.fault()
        line.cut()
        scene.go_on_reading(READS)
        assert cut_off(parts.is_circuit_open)
        line.mend()
        commits = scene.settled(writer)
        scene.heal()
        scene.judge(NEVER, commits=commits)

    @pytest.mark.parametrize("how", ["cut", "hang"])
    def test_writer(self, scene: Scene, how: str) -> None:
        """Others reach the server: they may be served the old row until the journal is relayed, by one of them."""
        line, url = scene.redis_proxy()
        writer = scene.busy(redis_url=url)
        scene.fault()
        getattr(line, how)()
        scene.go_on_reading(READS)
        line.mend()
        commits = scene.settled(writer)
        scene.heal()
        scene.judge(until_relayed(RELAYED_S), commits=commits)
        assert not all(commit.is_guarded for commit in commits)

    def test_writer_that_never_comes_back(self, scene: Scene) -> None:
        """It is dead before it could tell; its commit is in the journal."""
        line, url = scene.redis_proxy()
        pk = scene.row()
        scene.reader()
        scene.reader()
        writer = scene.part(redis_url=url)
        scene.begin()
        scene.fault()
        line.cut()
        commit = writer(parts.write, "Product", pk, 1)
        assert not commit.is_guarded
        scene.commits.append(commit)
        writer.kill()
        scene.until_cached(pk, 1)
        scene.heal()
        scene.judge(until_relayed(RELAYED_S))

    def test_writer_that_never_comes_back_and_no_journal(self, scene: Scene) -> None:
        """``ON_LOST_INVALIDATION = "ttl"``, and nobody who relays: the TTL."""
        ttl_s = 3.0
        line, url = scene.redis_proxy()
        pk = scene.row()
        scene.reader(TTL=ttl_s, JITTER=0, RELAY_INTERVAL=None)
        writer = scene.part(redis_url=url, RELAY_INTERVAL=None)
        scene.begin()
        scene.fault()
        line.cut()
        commit = writer(parts.write, "Product", pk, 1)
        scene.commits.append(commit)
        writer.kill()
        scene.until_cached(pk, 1)
        scene.heal()
        scene.judge(until_relayed(ttl_s))


class TestTooManyClients:
    def test_for_all(self, scene: Scene) -> None:
        """Whoever is disconnected is not let in again."""
        writer = scene.busy()
        server = scene.server()
        server.ping()
        scene.fault()
        server.config_set("maxclients", 1)
        server.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        scene.go_on_reading(READS)
        server.config_set("maxclients", 1000)
        commits = scene.settled(writer)
        scene.heal()
        scene.judge(NEVER, commits=commits)


class TestPoolExhausted:
    """``max_connections`` of the alias are in use when somebody needs one more."""

    TWO = {"CONNECTION_POOL_KWARGS": {"max_connections": 2}}  # the relay's thread takes one too

    def test_of_a_writer(self, scene: Scene) -> None:
        """As if the server were away for it."""
        writer = scene.busy(options=self.TWO)
        scene.fault()
        until(lambda: occupied(writer), "the connections are idle and are taken")
        scene.go_on_reading(READS)
        writer(parts.free_connections)
        commits = scene.settled(writer)
        scene.heal()
        scene.judge(until_relayed(RELAYED_S), commits=commits)
        assert not all(commit.is_guarded for commit in commits)

    def test_of_a_reader(self, scene: Scene) -> None:
        """It reads the database."""
        pk = scene.row()
        reader = scene.reader(options=self.TWO)
        writer = scene.part(**PATIENT)
        scene.begin()
        writer(parts.write_on, "Product", [pk], every_s=0.02)
        scene.fault()
        until(lambda: occupied(reader), "the connections are idle and are taken")
        scene.go_on_reading(READS)
        reader(parts.free_connections)
        commits = scene.settled(writer)
        scene.heal()
        scene.judge(NEVER, commits=commits)


def occupied(part: Part) -> bool:
    """Its connections are taken; not yet if another of its threads has one right now."""
    try:
        part(parts.occupy_connections)
    except PartError:
        return False
    return True

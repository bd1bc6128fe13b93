"""The server answers reads and takes no writes: nobody can announce a COMMIT, and hits must end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import redis

from tests.faults import parts
from tests.faults.judge import UNTIL_TOLD
from tests.faults.scene import READS, Scene, until

pytestmark = pytest.mark.faults

NOTICED_S = 3.0
"""Within how many seconds readers find out. They say who they are every second, which is a write."""


@contextmanager
def out_of_memory(server: redis.Redis) -> Iterator[str]:
    """OOM."""
    server.config_set("maxmemory-policy", "noeviction")
    server.config_set("maxmemory", 1)
    yield "OutOfMemoryError"
    server.config_set("maxmemory", 0)


@contextmanager
def cannot_save(server: redis.Redis) -> Iterator[str]:
    """MISCONF: the last snapshot failed, because its directory is gone."""
    directory = server.config_get("dir")["dir"]
    doomed = Path(directory) / "doomed"
    doomed.mkdir()
    server.config_set("dir", str(doomed))
    server.config_set("save", "3600 1")
    doomed.rmdir()
    server.bgsave()
    until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err", "the snapshot fails")
    yield "ResponseError"
    server.config_set("dir", directory)
    server.config_set("save", "")


@contextmanager
def demoted(server: redis.Redis) -> Iterator[str]:
    """READONLY: it has become a replica under living connections."""
    server.replicaof("127.0.0.1", 1)
    yield "ReadOnlyError"
    server.replicaof("NO", "ONE")


@contextmanager
def forbidden(server: redis.Redis) -> Iterator[str]:
    """NOPERM: its users may only read."""
    server.execute_command("ACL", "SETUSER", "default", "-@write")
    yield "ResponseError"
    server.execute_command("ACL", "SETUSER", "default", "+@all")


@pytest.mark.parametrize("refusing", [out_of_memory, cannot_save, demoted, forbidden])
def test_hits_end_within_seconds(scene: Scene, refusing: Callable[[redis.Redis], AbstractContextManager[str]]) -> None:
    """What was written meanwhile may be seen old until readers notice, and no more, also when it is over."""
    writer = scene.busy()
    server = scene.server()
    began_s = scene.fault()
    with refusing(server) as why:
        with pytest.raises(redis.exceptions.ResponseError) as refused:
            server.eval("return redis.call('SET', KEYS[1], '1', 'PX', 1000)", 1, "{cacheaside}probe")
        assert refused.typename == why
        until(lambda: all(one(parts.is_circuit_open) for one in scene.readers), "hits end", NOTICED_S)
        ended_s = scene.now_s()
        scene.go_on_reading(READS)
    commits = scene.settled(writer)
    scene.heal()
    verdict = scene.judge(UNTIL_TOLD, commits=commits)
    assert [read for read in verdict.excused if ended_s < read.began_s] == []
    assert ended_s - began_s < NOTICED_S

"""What goes over the wires while something is done once: round trips to Valkey, statements to the database."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest import mock

from django.db import connections
from django.test.utils import CaptureQueriesContext
from redis.connection import AbstractConnection

from benchmarks.models import Bare, Columns, Kept
from django_cacheaside.orm import runtime

_FIRST_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n(\w+)")


def round_trips(run: Callable[[], object]) -> list[str]:
    """The first command of each round trip that ``run`` makes; a pipeline is one.

    But for the one that is made each half second, whatever else is done: a look at what other processes announce.
    """
    for agreement in runtime.current().agreements.all():
        agreement.look()
    first: list[str] = []
    send = AbstractConnection.send_packed_command

    def noting(connection: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        packed = command if isinstance(command, bytes) else b"".join(command)
        match = _FIRST_COMMAND.match(packed)
        first.append(match[1].decode() if match else "?")
        return send(connection, command, *args, **kwargs)

    with mock.patch.object(AbstractConnection, "send_packed_command", noting):
        run()
    return first


def demand_same_statements(runs: dict[tuple[type[Columns], str], Callable[[], object]]) -> None:
    """Make sure that what is compared does the same: each run sends the same SQL, but for the table's name.

    Args:
        runs: By the model and the alias that it writes.

    Raises:
        RuntimeError: They don't.
    """
    sent: list[list[str]] = []
    for (model, alias), run in runs.items():
        with CaptureQueriesContext(connections[alias]) as captured:
            run()
        sent.append([_without_values(query["sql"].replace(model._meta.db_table, "t")) for query in captured])
    if any(statements != sent[0] for statements in sent) or not sent[0]:
        raise RuntimeError(f"These do not send the same statements: {sent}")


def _without_values(sql: str) -> str:
    return re.sub(r"'[^']*'|\b\d[\d.]*|\bNULL\b", "?", sql)


assert len(Kept._meta.db_table) == len(Bare._meta.db_table)

"""What happens inside a block: the words of the fixture ``count_round_trips``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import redis

from tests.app.models import Product


@dataclass
class Costs:
    """What happened inside the block."""

    round_trips: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    sql: list[str] = field(default_factory=list)

    @property
    def selects(self) -> int:
        return sum(statement.startswith("SELECT") for statement in self.sql)


Count = Callable[[], AbstractContextManager[Costs]]


def commands_of(client: redis.Redis) -> Counter[str]:
    """How often each command was sent to the server since it began; those that scripts call are counted too."""
    said = client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): int(stats["calls"]) for name, stats in said.items()})


def warm_up(alias: str) -> None:
    """Each act once, so that scripts are loaded and connections made."""
    pk = Product.objects.using(alias).create().pk
    Product.cached.using(alias).get(pk=pk)
    Product.objects.using(alias).filter(pk=pk).update(version=1)
    Product.objects.using(alias).filter(version__lt=0).update(version=1)

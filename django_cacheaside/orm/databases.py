"""Which database an alias is: keys carry the database's identity, so that every process that uses it meets in them."""

from __future__ import annotations

import os
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

_PROCESS = os.urandom(4).hex()


def identity(connection: BaseDatabaseWrapper) -> str:
    """The database's name, the same for every alias of it; for SQLite its file's, for one in memory this process's.

    Hosts do not count: ``localhost`` and ``127.0.0.1`` are one server. Two databases of one name on two servers share
    their keys; ``may_serve`` then keeps all but one of them out of the cache.
    """
    name = str(connection.settings_dict.get("NAME") or connection.settings_dict.get("OPTIONS", {}).get("service", ""))
    if connection.vendor != "sqlite":
        return name
    if ":memory:" in name or "mode=memory" in name:
        return f"memory-{os.getpid()}-{_PROCESS}"
    return _file_identity(name)


@lru_cache(maxsize=64)
def _file_identity(name: str) -> str:
    path = os.path.realpath(name)
    return f"{Path(path).name}-{blake2b(path.encode(), digest_size=4).hexdigest()}"


def may_serve(alias: str, model: type[Model]) -> bool:
    """Is ``alias`` the primary of its database, as far as the settings tell?

    An alias that shares its database with another one may be a replica: only the router's choice for writes is served.
    """
    if alias == router.db_for_write(model):
        return True
    here = connections[alias]
    if here.settings_dict.get("TEST", {}).get("MIRROR"):
        return False
    mine = identity(here)
    return all(identity(connections[other]) != mine for other in connections if other != alias)

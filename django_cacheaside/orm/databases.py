"""Which database an alias is: keys carry the database's identity, so that every process that uses it meets in them.

By default it is the database's name; ``CACHEASIDE["DATABASES"]`` declares it where names say too little or too much.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_cacheaside import conf

_PROCESS = os.urandom(4).hex()
_configured: dict[str, object] = {}


def note_configured_names() -> None:
    """Keep the names that the settings give the databases, before a test run gives them others.

    The first call counts.
    """
    for alias in connections:
        _configured.setdefault(alias, connections.settings[alias].get("NAME"))


def connection_of(alias: str) -> BaseDatabaseWrapper:
    """This thread's connection: ``connections[alias]``, 0.9 µs sooner. Only where no event loop runs.

    Django's handler finds out whether one runs by catching an exception. What it looks into then is a
    ``threading.local``; if asgiref has come to keep connections elsewhere, the handler is asked.
    """
    storage = vars(connections._connections).get("_storage")  # type: ignore[attr-defined]  # not in the stubs
    if type(storage) is threading.local:
        kept: BaseDatabaseWrapper | None = storage.__dict__.get(alias)
        if kept is not None:
            return kept
    return connections[alias]


def identity(connection: BaseDatabaseWrapper) -> str:
    """What stands for the database in keys, the same in every process and for every alias of it.

    Declared, or its own name. A database that a test run has made in place of the declared one is another one, and so
    is each of those that several test processes make: there the declared identity and the name together. A test's
    MIRROR is the database that it mirrors.

    Raises:
        ImproperlyConfigured: ``CACHEASIDE`` is wrong.
    """
    declared = conf.get_settings().DATABASES.get(connection.alias)
    if declared is None or is_private(connection):
        return own_name(connection)
    if not is_renamed(connection):
        return declared
    mirrored = (connection.settings_dict.get("TEST") or {}).get("MIRROR")
    return identity(connections[mirrored]) if mirrored else f"{declared}:{own_name(connection)}"


def own_name(connection: BaseDatabaseWrapper) -> str:
    """The database's name; for SQLite its file's, for one in memory this process's.

    Hosts do not count: ``localhost`` and ``127.0.0.1`` are one server. Two databases of one name on two servers share
    their keys, unless their identities are declared; ``may_serve`` then keeps all but one of them out of the cache.
    """
    name = _name(connection)
    if is_private(connection):
        return f"memory-{os.getpid()}-{_PROCESS}"
    return _file_identity(name) if connection.vendor == "sqlite" else name


def is_private(connection: BaseDatabaseWrapper) -> bool:
    """Is it a database in this process's memory?"""
    name = _name(connection)
    return connection.vendor == "sqlite" and (":memory:" in name or "mode=memory" in name)


def is_renamed(connection: BaseDatabaseWrapper) -> bool:
    """Has it another name than the settings gave it? A test run does that."""
    name = connection.settings_dict.get("NAME")
    return str(_configured.get(connection.alias, name)) != str(name)


def _name(connection: BaseDatabaseWrapper) -> str:
    options = connection.settings_dict.get("OPTIONS") or {}
    return str(connection.settings_dict.get("NAME") or options.get("service", ""))


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

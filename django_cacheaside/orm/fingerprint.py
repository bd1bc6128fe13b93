"""What other processes are told of how this one makes the keys of a database."""

from __future__ import annotations

import json
from hashlib import blake2b

from django.db.backends.base.base import BaseDatabaseWrapper

from django_cacheaside.conf import Alias, Settings
from django_cacheaside.engine.agreement import Announcement
from django_cacheaside.keys import LAYOUT
from django_cacheaside.orm.databases import identity, is_private, is_renamed, own_name


def announcements(connection: BaseDatabaseWrapper, alias: Alias, settings: Settings) -> list[Announcement]:
    """One for everybody who gives the database this identity, and one for those who know it by its name only.

    Two processes that both declare identities mean what they say: they may use two databases of one name. Empty for a
    database of this process alone.
    """
    if is_private(connection):
        return []
    name, is_namespaced = identity(connection), settings.NAMESPACE is not None
    is_declared = connection.alias in settings.DATABASES
    text = (
        f"{alias.key_settings}, NAMESPACE={'set' if is_namespaced else None}, "
        f"database {name!r} ({'as DATABASES declares' if is_declared else 'by its NAME'})"
    )
    made = alias.make_key("{cacheaside}sample")
    said = [Announcement(_record(connection, name), _mark(LAYOUT, made, is_namespaced), text)]
    if name != own_name(connection):
        said.append(
            Announcement(_record(connection, own_name(connection)), _mark("declared", is_renamed(connection)), text)
        )
    return said


def _record(connection: BaseDatabaseWrapper, name: str) -> str:
    """A key that no prefix, version or key function changes. Its tag is its own: one script, one slot."""
    return "cacheaside:{" + f"{connection.vendor}/{name}".replace("{", "(").replace("}", ")") + "}"


def _mark(*parts: object) -> str:
    return blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()

"""The Lua scripts, read once from ``lua/``.

``protocol/model`` in the tests states what each one does to the keys; the laws hold them to it on real servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """One script: ``text`` for EVAL, ``sha`` (hex SHA-1 of the text) for EVALSHA."""

    name: str
    text: str
    sha: str


def load_script(name: str) -> Script:
    """Read ``lua/<name>.lua`` and put before it what it uses of the common part."""
    folder = files(__package__).joinpath("lua")
    common, own = (folder.joinpath(f"{part}.lua").read_text("utf-8") for part in ("common", name))
    text = "\n\n".join([*reversed(list(_used(common, own))), own])
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _used(common: str, text: str) -> Iterator[str]:
    """The definitions that ``text`` needs, the last one first: each stands alone between empty lines.

    The server makes every function anew at each call of a script.
    """
    for piece in reversed(common.split("\n\n")):
        defined = re.search(r"^local (?:function )?(\w+)", piece, re.MULTILINE)
        if defined and re.search(rf"\b{defined[1]}\b", text):
            text += piece
            yield piece


ACQUIRE = load_script("acquire")
FILL = load_script("fill")
ABANDON = load_script("abandon")
INTENT = load_script("intent")
RELEASE = load_script("release")
INTENT_ALL = load_script("intent_all")
RELEASE_ALL = load_script("release_all")
FLUSH = load_script("flush")
ANNOUNCE = load_script("announce")
WITHDRAW = load_script("withdraw")
PUBLISH = load_script("publish")

ROW_SCRIPTS = (ACQUIRE, FILL, ABANDON, INTENT, RELEASE, INTENT_ALL, RELEASE_ALL, FLUSH)
ALL_SCRIPTS = (*ROW_SCRIPTS, ANNOUNCE, WITHDRAW, PUBLISH)

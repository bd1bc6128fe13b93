"""The Lua scripts, read once from ``lua/``.

``protocol/model`` in the tests states what each one does to the keys; the laws hold them to it on real servers.
"""

from __future__ import annotations

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
    """Read ``lua/<name>.lua`` with the common part before it."""
    folder = files(__package__).joinpath("lua")
    text = "\n".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in ("common", name))
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


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

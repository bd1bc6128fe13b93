"""The names of the keys in Redis.

All keys of one model in one database share a hash tag, so that every script touches one slot of a Redis Cluster:

    {shop.product@main}e:42    the entry of the row with primary key 42
    {shop.product@main}l:42    its lease
    {shop.product@main}g       the epoch of the model
    {shop.product@main}s:1f…   which columns the entries with the fingerprint 1f… hold

In a namespace the tag begins with it: ``{tenant/shop.product@main}``. The alias's ``KEY_FUNCTION``, ``KEY_PREFIX`` and
``VERSION`` are applied to each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b

MakeKey = Callable[[str], str]

LAYOUT = 1
"""Raised where keys come to look different: processes of two layouts don't meet in them."""

LONGEST_IDENT = 80
"""Characters of a primary key that stand in a key as they are; a longer one is hashed."""


class KeySpace:
    """The keys of one model in one database.

    Args:
        label: ``app_label.model_name`` of the model.
        database: The database's identity, equal in every process that uses it.
        make_key: What the cache alias does to a key: prefix, version, key function.
    """

    __slots__ = ("_entry", "_lease", "_make_key", "database", "epoch", "label", "tag")

    def __init__(self, label: str, database: str, make_key: MakeKey) -> None:
        self.label = label
        self.database = database
        self.tag = "{" + f"{label}@{database}".replace("{", "(").replace("}", ")") + "}"
        self._make_key = make_key
        self.epoch = make_key(self.tag + "g")
        self._entry = _constant_prefix(make_key, self.tag + "e:")
        self._lease = _constant_prefix(make_key, self.tag + "l:")

    def entry(self, ident: str) -> str:
        """The key of the entry of the row ``ident``."""
        if self._entry is not None:
            return self._entry + ident
        return self._make_key(f"{self.tag}e:{ident}")

    @property
    def entry_prefix(self) -> str | None:
        """What the key of an entry has before the row's ``ident``; None if that depends on the row."""
        return self._entry

    def entries(self, idents: Iterable[str]) -> list[str]:
        """The keys of the entries of rows: in a third of the time."""
        prefix = self._entry
        return [*map(self.entry, idents)] if prefix is None else [prefix + ident for ident in idents]

    def leases(self, idents: Iterable[str]) -> list[str]:
        """The keys of the leases of rows."""
        prefix = self._lease
        return [*map(self.lease, idents)] if prefix is None else [prefix + ident for ident in idents]

    def lease(self, ident: str) -> str:
        """The key of the lease of the row ``ident``."""
        if self._lease is not None:
            return self._lease + ident
        return self._make_key(f"{self.tag}l:{ident}")

    def schema(self, fingerprint: str) -> str:
        """The key of the record of a fingerprint, in hexadecimal."""
        return self._make_key(f"{self.tag}s:{fingerprint}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySpace) and self.epoch == other.epoch

    def __hash__(self) -> int:
        return hash(self.epoch)

    def __repr__(self) -> str:
        return f"KeySpace({self.tag})"


def label_in(namespace: str | None, label: str) -> str:
    """A model's label within a namespace. No label has a slash in it: two namespaces never make one tag."""
    return label if namespace is None else f"{namespace}/{label}"


def text_ident(value: str) -> str:
    """A text primary key as part of a key: itself, or a hash of it where it is long. The row's own pk decides a hit."""
    if len(value) <= LONGEST_IDENT and not value.startswith("#") and (value.isascii() or _is_encodable(value)):
        return value
    return "#" + blake2b(value.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _is_encodable(value: str) -> bool:
    """Has it no lone surrogate? JSON may bring one; the database refuses it, but the key must not be what fails."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _constant_prefix(make_key: MakeKey, raw: str) -> str | None:
    """What ``make_key`` puts before a key, if it is the same for every key and nothing comes behind; else None."""
    prefixes = {
        made[: -len(sample)]
        for sample in ("1", "another-key")
        if (made := make_key(raw + sample)).endswith(raw + sample)
    }
    if len(prefixes) == 1 and make_key(raw + "1") != make_key(raw + "another-key"):
        return prefixes.pop()
    return None

"""What can be wrong with ``CACHEASIDE``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings as django_settings
from django.utils.module_loading import import_string

from django_cacheaside.conf.durations import DURATIONS, duration_problem
from django_cacheaside.conf.problems import Problem, nearest
from django_cacheaside.conf.settings import CHOICES, DEFAULTS, IDENTITY, KNOWN, NAMESPACE, NAMESPACE_RULE


def settings_problems(raw: object) -> Iterator[Problem]:
    """All that is wrong with ``CACHEASIDE``."""
    if not isinstance(raw, Mapping):
        yield Problem(
            "cacheaside.E001", f"CACHEASIDE is {raw!r}; it must be a dict.", 'Set CACHEASIDE = {"CACHE": "default"}.'
        )
        return
    for name in raw:
        if name not in KNOWN:
            yield Problem("cacheaside.E002", f"CACHEASIDE has no key {name!r}.", nearest(str(name), KNOWN))
    for name, allowed in DURATIONS.items():
        if name == "RELAY_INTERVAL" and raw.get(name, 0) is None:
            continue  # no thread of ours relays
        if name in raw and (wrong := duration_problem(name, raw[name], allowed)):
            yield Problem("cacheaside.E003", f"CACHEASIDE: {wrong}", f"The default is {DEFAULTS[name]:g} s.")
    jitter = raw.get("JITTER", 0.0)
    if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter <= 1:
        yield Problem(
            "cacheaside.E003",
            f"CACHEASIDE: JITTER is {jitter!r}; it must be a share between 0 and 1.",
            "The default is 0.1.",
        )
    limit = raw.get("FALLBACK_LIMIT")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        what = f"CACHEASIDE: FALLBACK_LIMIT is {limit!r}; it must be None or a number of reads, 1 or more."
        yield Problem("cacheaside.E003", what, "It bounds the reads at the database while the cache server is away.")
    if not isinstance(raw.get("ENABLED", True), bool):
        yield Problem("cacheaside.E003", f"CACHEASIDE: ENABLED is {raw['ENABLED']!r}; it must be True or False.", "")
    for name, (words, meaning) in CHOICES.items():
        if raw.get(name, words[0]) not in words:
            what = f"CACHEASIDE: {name} is {raw[name]!r}; it must be {' or '.join(map(repr, words))}."
            yield Problem("cacheaside.E003", what, f"{meaning} The default is {words[0]!r}.")
    if not isinstance(raw.get("CACHE", ""), str):
        yield Problem("cacheaside.E003", f"CACHEASIDE: CACHE is {raw['CACHE']!r}; it must name an alias of CACHES.", "")
    yield from _namespace_problems(raw.get("NAMESPACE"))
    yield from _databases_problems(raw.get("DATABASES", {}))


def _namespace_problems(raw: object) -> Iterator[Problem]:
    if raw is None or callable(raw):
        return
    if not isinstance(raw, str):
        what = f"CACHEASIDE: NAMESPACE is {raw!r}; it must be None, a text, or a callable."
        yield Problem("cacheaside.E003", what, "The callable takes no arguments and returns the namespace in force.")
    elif "." in raw:
        try:
            found = import_string(raw)
        except ImportError as error:
            yield Problem("cacheaside.E003", f"CACHEASIDE: NAMESPACE names {raw!r}: {error}", "Give a dotted path.")
        else:
            if not callable(found):
                yield Problem("cacheaside.E003", f"CACHEASIDE: NAMESPACE names {raw!r}, which is no callable.", "")
    elif not NAMESPACE.fullmatch(raw):
        what = f"CACHEASIDE: NAMESPACE is {raw!r}; it must be {NAMESPACE_RULE}."
        yield Problem("cacheaside.E003", what, "A text with a dot in it is the dotted path of a callable.")


def _databases_problems(raw: object) -> Iterator[Problem]:
    if not isinstance(raw, Mapping):
        what = f"CACHEASIDE: DATABASES is {raw!r}; it must be a dict of aliases and identities."
        yield Problem("cacheaside.E003", what, 'As in {"default": "shop", "pool": "shop"}.')
        return
    aliases = tuple(django_settings.DATABASES)
    for alias, declared in raw.items():
        if alias not in aliases:
            what = f"CACHEASIDE: DATABASES names {alias!r}, no alias of Django's DATABASES."
            yield Problem("cacheaside.E003", what, nearest(str(alias), aliases))
        elif not isinstance(declared, str) or not IDENTITY.fullmatch(declared):
            what = f"CACHEASIDE: DATABASES[{alias!r}] is {declared!r}; it must be a text of 1 to 64 characters."
            yield Problem("cacheaside.E003", what, "No white space, and no braces.")
    yield from _contradictions(raw)


def _contradictions(declared: Mapping[str, Any]) -> Iterator[Problem]:
    """Aliases of one address that are said to be different databases."""
    said: dict[tuple[Any, ...], tuple[str, Any]] = {}
    for alias, database in django_settings.DATABASES.items():
        if (database.get("TEST") or {}).get("MIRROR"):
            continue  # in a test run it has the address of another one
        address = tuple(str(database.get(part) or "") for part in ("ENGINE", "HOST", "PORT", "NAME"))
        own = declared.get(alias, database.get("NAME"))
        other, of_other = said.setdefault(address, (alias, own))
        if str(of_other) != str(own):
            yield Problem(
                "cacheaside.E004",
                f"CACHEASIDE: DATABASES gives {other!r} the identity {str(of_other)!r} and {alias!r} {str(own)!r}, but "
                "their addresses are the same.",
                "What is written through one would not be seen through the other: give them one identity.",
            )

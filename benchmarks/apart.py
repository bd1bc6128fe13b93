"""A Valkey for one subject alone: to be weighed, frozen, killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.test import override_settings

from example_project.embedded import EmbeddedValkey


@contextmanager
def valkey_apart(cacheaside: dict[str, Any]) -> Iterator[EmbeddedValkey]:
    """Start one, empty; meanwhile this process's cache is on it, with these settings and no others. 0.2 s."""
    with EmbeddedValkey() as valkey:
        caches = {"default": {**settings.CACHES["default"], "LOCATION": valkey.url}}
        with override_settings(CACHES=caches, CACHEASIDE={"CACHE": "default", **cacheaside}):
            yield valkey

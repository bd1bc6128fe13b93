"""Fetch modes (Django 6.1) of instances from the cache, given to them as Django gives them to those that it makes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import ref

from django.db.models import Model
from django.db.models.base import ModelState

BY_ITSELF: Any = getattr(ModelState(), "fetch_mode", None)
"""The mode of an instance that nobody gave one; None before Django 6.1."""


def give_fetch_mode(instances: Iterable[Model], mode: Any) -> None:
    """Let instances that were read together lead on by ``mode``; nothing to do for the mode that they have anyway."""
    if mode is BY_ITSELF:
        return
    instances = list(instances)
    peers = [ref(instance) for instance in instances]
    for instance in instances:
        state: Any = instance._state
        state.fetch_mode = mode
        if mode.track_peers:
            state.peers = peers

"""Modules that are imported at their first use: what a start need not pay for, Redis's client first of all.

    if TYPE_CHECKING:
        from django_cacheaside.orm import runtime
    else:
        runtime = later("django_cacheaside.orm.runtime")

    def receiver(...):
        runtime.current()

At the edge from what ``django.setup()`` loads to what reads and writes need, and nowhere else; in this form, so that
type checkers and the contract of the layers see the edge. It hides no cycle: it points downwards as any import.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from threading import RLock
from types import ModuleType
from typing import Any

_one_at_a_time = RLock()
"""Two threads that enter a package by different modules (redis and redis.exceptions) may find each other half-way, and
importlib then fails one of them. No module of ours uses another one by ``later`` while it is imported: no deadlock."""


def _let_go_of_parent() -> None:
    """In a forked child: another thread of the parent may have held the lock, and it is not here."""
    global _one_at_a_time
    _one_at_a_time = RLock()


os.register_at_fork(after_in_child=_let_go_of_parent)


class _Loaded:
    """Stands for a module that is there: its attributes are the module's own."""

    __slots__ = ("__dict__", "__later__")

    def __init__(self, name: str) -> None:
        self.__later__ = name


class _Later(_Loaded):
    """Stands for a module until it is asked for something. Without ``__getattr__`` a look-up takes half the time."""

    __slots__ = ()

    def __getattr__(self, attribute: str) -> Any:
        with _one_at_a_time:
            module = import_module(self.__later__)
        self.__dict__ = vars(module)
        self.__class__ = _Loaded  # type: ignore[assignment]
        return getattr(module, attribute)


def later(name: str) -> Any:
    """The module of this name, imported when it is first asked for something. Threads may ask at once."""
    return _Later(name)


def is_imported(module: ModuleType) -> bool:
    """Has anybody in the process imported what ``later`` stands for, or begun to?"""
    assert isinstance(module, _Loaded)
    return module.__later__ in sys.modules

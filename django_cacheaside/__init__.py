"""Cache-aside for Django models on Redis or Valkey: no reader ever sees a row older than the newest commit.

    from django_cacheaside import Derived, Listing, Near, Unique, cached, disabled, invalidate, register

The names are loaded at their first use, so that this can be imported before settings and models exist.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_cacheaside.orm.index.declarations import Derived, Listing, Unique
    from django_cacheaside.orm.invalidate import invalidate
    from django_cacheaside.orm.near import Near
    from django_cacheaside.orm.register import cached, register
    from django_cacheaside.orm.switch import disabled

__version__ = "0.1.0.dev0"
__all__ = ["Derived", "Listing", "Near", "Unique", "cached", "disabled", "invalidate", "register"]

_HOMES = {
    "Derived": "orm.index.declarations",
    "Listing": "orm.index.declarations",
    "Near": "orm.near",
    "Unique": "orm.index.declarations",
    "cached": "orm.register",
    "disabled": "orm.switch",
    "invalidate": "orm.invalidate",
    "register": "orm.register",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Equality that forgives nothing, for values that had to be rebuilt from text."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any


def same(left: Any, right: Any) -> bool:
    """Whether nobody could tell ``left`` and ``right`` apart.

    ``==`` says that ``1 == True``, ``0.0 == -0.0``, ``Decimal("1") == Decimal("1.00")``, that an hour in Paris equals
    one in UTC, that NaN equals nothing. Containers of JSON are compared to their leaves, the order of keys included;
    any other class by its type and its own ``==``.
    """
    kind = type(left)
    if kind is not type(right):
        return False
    if kind is float:
        return repr(left) == repr(right)
    if kind is Decimal:
        return bool(left.as_tuple() == right.as_tuple())
    if kind is dt.datetime or kind is dt.time:
        return bool(left == right and left.tzinfo == right.tzinfo and left.fold == right.fold)
    if kind is dict:
        return same([*left], [*right]) and same([*left.values()], [*right.values()])
    if kind is list or kind is tuple:
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)

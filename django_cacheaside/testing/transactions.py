"""Whose transaction is open: the one that ``TestCase`` opens around each test, or one of the test's own."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


def is_in_test(connection: BaseDatabaseWrapper) -> bool:
    """Is the transaction that is open a test's?"""
    blocks = connection.atomic_blocks
    return bool(blocks) and _is_test_case(blocks[0])


def is_outermost_in_test(connection: BaseDatabaseWrapper) -> bool:
    """Is it open, and no ``atomic`` block besides?"""
    blocks = connection.atomic_blocks
    return bool(blocks) and _is_test_case(blocks[-1])


def _is_test_case(atomic: Any) -> bool:
    """Django's own mark: it is what lets ``atomic(durable=True)`` run inside a test."""
    return bool(atomic._from_testcase)

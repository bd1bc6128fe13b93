"""What the second process does for the statistics."""

from __future__ import annotations

from django_cacheaside.orm import runtime
from tests.app.models import Product


def read_and_tell(pk: int, times: int) -> None:
    """Read a row, and tell what was counted without waiting for the thread that does it."""
    for _ in range(times):
        Product.cached.get(pk=pk)
    runtime.current().publisher.publish()

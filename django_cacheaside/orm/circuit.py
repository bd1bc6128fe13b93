"""What the project hears of the circuit. A receiver that raises breaks neither a read nor a commit: Django logs it."""

from __future__ import annotations

from django_cacheaside.engine.breaker import Breaker
from django_cacheaside.signals import circuit_closed, circuit_opened


def say_opened(reason: str) -> None:
    """Send ``circuit_opened``."""
    circuit_opened.send_robust(Breaker, reason=reason)


def say_closed(open_s: float) -> None:
    """Send ``circuit_closed``."""
    circuit_closed.send_robust(Breaker, open_s=open_s)

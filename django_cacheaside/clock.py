"""Time for waiting, injected so that tests do not sleep.

Nothing here decides whether a value is valid: deadlines of leases and intents are kept by the server's own clock.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the engine needs of time. Seconds, monotonic."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary point; never goes back."""
        ...

    def sleep_s(self, duration_s: float, /) -> None:
        """Let ``duration_s`` seconds pass."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep_s(self, duration_s: float, /) -> None:
        time.sleep(duration_s)

"""What is logged and is not the daily bread of a soak: it counts as an error."""

from __future__ import annotations

import logging

EXPECTED = (
    "The cache server is not used for now",
    "The cache server answers again",
    "Writes to ",  # are committed without the server knowing
    "The journal of 'default' lags",
)

said: list[str] = []
"""Of this process."""


class Unexpected(logging.Handler):
    """Keeps it."""

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        text = self.format(record)
        if record.levelno >= logging.WARNING and not text.startswith(EXPECTED):
            said.append(text)

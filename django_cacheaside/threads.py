"""Threads of ours: none of them may fail a read or a commit that would have started it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread

logger = logging.getLogger("django_cacheaside")


def start_thread(name: str, run: Callable[[], object], *, otherwise: str = "") -> Thread | None:
    """A daemon thread, or None if the process may have no more of them, or is about to end.

    Args:
        otherwise: What happens without it, for the log; nothing is said if it is empty.
    """
    thread = Thread(target=run, name=f"cacheaside-{name}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        if otherwise:
            logger.warning("%s: %s", otherwise, error)
        return None
    return thread

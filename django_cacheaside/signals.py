"""Signals of Django's kind, for monitoring."""

from __future__ import annotations

from django.dispatch import Signal

journal_lagging = Signal()
"""An entry of the journal was delivered late: ``alias`` of the database, ``age_s`` of the entry in seconds."""

circuit_opened = Signal()
"""The cache server is not used from now on: ``reason`` in words. On whichever thread found out."""

circuit_closed = Signal()
"""It is used again: ``open_s``, for how many seconds it was not."""

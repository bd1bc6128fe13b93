"""Signals of Django's kind, for monitoring."""

from __future__ import annotations

from django.dispatch import Signal

journal_lagging = Signal()
"""An entry of the journal was delivered late: ``alias`` of the database, ``age_s`` of the entry in seconds."""

"""What the second process does as a relay."""

from __future__ import annotations

from io import StringIO

from django.core.management import call_command


def relay_until_told(alias: str) -> str:
    """``manage.py cacheaside relay`` until SIGTERM. Returns what it printed."""
    said = StringIO()
    call_command("cacheaside", "relay", interval=0.05, database=alias, stdout=said)
    return said.getvalue()

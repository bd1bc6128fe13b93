"""The journal's table: what was written without the cache server knowing, kept in the same database."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class JournalEntry(models.Model):
    """The keys of one commit. It is there if and only if the commit is: they share a transaction.

    Fields:
        keys: Entries and epochs by key space, as ``payload`` packs them.
        spaces: The key spaces in plain text, for when ``keys`` can't be read.
        due_at: Not to be relayed before; NULL for at once.
        failure: Why it was set aside: its keys could not be read, and the epochs of its key spaces were moved instead.
    """

    keys = models.BinaryField()
    spaces = models.TextField()
    recorded_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(null=True)
    failure = models.TextField(default="")

    class Meta:
        app_label = "cacheaside"
        verbose_name = "journal entry"
        verbose_name_plural = "journal entries"

    def __str__(self) -> str:
        return self.spaces

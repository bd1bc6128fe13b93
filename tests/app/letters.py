"""Models for the API of the tests: rows that belong to users."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import models

from django_cacheaside import Listing, Unique
from django_cacheaside.models import CacheAsideMixin


class Topic(models.Model):
    """Plain."""

    name = models.CharField(max_length=50)


class Letter(CacheAsideMixin, models.Model):
    """Of one user, and of nobody else's business."""

    # no constraint: this app has no migrations, so its tables are made before those of the apps that have
    owner = models.ForeignKey(User, models.CASCADE, db_constraint=False)
    slug = models.CharField(max_length=50, unique=True)
    subject = models.CharField(max_length=50, default="", null=True)  # noqa: DJ001  NULL is not "None"
    words = models.IntegerField(default=0)
    weight = models.DecimalField(max_digits=9, decimal_places=2, default=0)
    is_draft = models.BooleanField(default=False)
    sent = models.DateTimeField(null=True)
    data = models.JSONField(default=dict)
    secret = models.CharField(max_length=50, default="")
    topics = models.ManyToManyField(Topic)

    class CacheAside:
        keys = [Unique("slug"), Listing("owner", order_by="words")]
        exclude = ["secret"]


class LetterProxy(Letter):
    """Another face of the same rows."""

    class Meta:
        proxy = True
        ordering = ["-words"]

"""The user of a project that has swapped Django's."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser, UserManager

from django_cacheaside.models import CacheAsideMixin


class Member(CacheAsideMixin, AbstractUser):
    """Cached whole, its password's hash too: a changed password holds at once."""

    objects = UserManager()

    class CacheAside:
        exclude: list[str] = []

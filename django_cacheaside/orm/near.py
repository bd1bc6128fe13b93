"""``near``: rows kept in the process itself, and what may not be done with an instance of such a model.

class CacheAside:
    near = True                                             # 16 MB in each process, no older than 1 s
    near = Near(max_bytes=4_000_000, max_staleness=0.5)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model
from django.db.models.signals import pre_save

from django_cacheaside.conf import Duration, duration_problem, seconds
from django_cacheaside.engine.near.policy import NearPolicy
from django_cacheaside.exceptions import NearInstanceError

MARK = "cacheaside_near"
"""The attribute of ``_state`` that says that an instance may be older than its row."""

_STALENESS = Duration(0.05, 60)
_LEAST_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class Near:
    """How much of a model each process keeps near, and how old that may be.

    Args:
        max_bytes: What its entries may take in one process.
        max_staleness: How long after a row was replaced it may still be served: seconds, or a ``timedelta``.
    """

    max_bytes: int = 16_000_000
    max_staleness: float | timedelta = 1.0


def near_policy(near: object, where: str) -> NearPolicy | None:
    """What the option ``near`` says; None for nothing.

    Raises:
        ImproperlyConfigured: It is neither True nor False nor a ``Near`` in its bounds.
    """
    if near is False:
        return None
    chosen = Near() if near is True else near
    if not isinstance(chosen, Near):
        raise ImproperlyConfigured(f"{where}: near is {near!r}; it takes True, False or Near(…).")
    size = chosen.max_bytes
    if not isinstance(size, int) or isinstance(size, bool) or size < _LEAST_BYTES:
        raise ImproperlyConfigured(f"{where}: Near(max_bytes={size!r}): at least {_LEAST_BYTES} bytes, a whole number.")
    wrong = duration_problem("max_staleness", chosen.max_staleness, _STALENESS)
    staleness_s = seconds(chosen.max_staleness)
    if wrong or staleness_s is None:
        raise ImproperlyConfigured(f"{where}: Near: {wrong}")
    return NearPolicy(size, staleness_s)


def guard_saves(model: type[Model]) -> None:
    """Refuse full saves of marked instances of ``model``. Idempotent."""
    pre_save.connect(_refuse_full_save, sender=model, dispatch_uid=f"django_cacheaside.near.{model._meta.label}")


def forget_age(instance: Model) -> None:
    """All of its columns have just been read from the database."""
    vars(instance._state).pop(MARK, None)


def _refuse_full_save(
    sender: type[Model], *, instance: Model, raw: bool, update_fields: Collection[str] | None, **_: Any
) -> None:
    if raw or MARK not in vars(instance._state) or instance._state.adding or instance.pk is None:
        return
    if update_fields is not None and not _is_named_by_django(update_fields, instance):
        return
    raise NearInstanceError(
        f"save() of a {sender._meta.label} that was served for a model with a near cache: it may be a little old, "
        "and would write old columns over newer ones. Save what you have changed, save(update_fields=[…]); or "
        f"change what {sender.__name__}.objects gives you, or what refresh_from_db() has read."
    )


def _is_named_by_django(update_fields: Collection[str], instance: Model) -> bool:
    """May ``save()`` have been told nothing? Of an instance with deferred columns Django itself names all others."""
    deferred = instance.get_deferred_fields()
    fields = [one for one in instance._meta.concrete_fields if not one.primary_key and not one.generated]
    return bool(deferred) and {one.name for one in fields if one.attname not in deferred} <= set(update_fields)

"""``class CacheAside`` inside a model: its policy, as ``Meta`` is its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from django_cacheaside.conf import DURATIONS, Duration, Settings, duration_problem, nearest, seconds
from django_cacheaside.engine.policy import Policy

OPTIONS = ("ttl", "jitter", "negative_ttl")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What a model declares for itself; None where the settings decide. Durations in seconds."""

    ttl: float | None = None
    jitter: float | None = None
    negative_ttl: float | None = None

    def policy(self, settings: Settings) -> Policy:
        """The durations that hold for the model."""

        def chosen_ms(own: float | None, default: float) -> int:
            return round(1000 * (default if own is None else own))

        return Policy(
            ttl_ms=chosen_ms(self.ttl, settings.TTL),
            jitter=settings.JITTER if self.jitter is None else self.jitter,
            negative_ttl_ms=chosen_ms(self.negative_ttl, settings.NEGATIVE_TTL),
            lease_ms=chosen_ms(None, settings.LEASE),
            wait_ms=chosen_ms(None, settings.WAIT),
        )


def read_options(model: type[Model]) -> ModelOptions:
    """The options of a model, inherited ones included.

    Raises:
        ImproperlyConfigured: An option is unknown or out of its range.
    """
    declared = declared_options(getattr(model, "CacheAside", None))
    where = f"{model._meta.label}.CacheAside"
    chosen: dict[str, float] = {}
    for name, value in declared.items():
        if name not in OPTIONS:
            raise ImproperlyConfigured(f"{where} has no option {name!r}. {nearest(name, OPTIONS)}")
        allowed = Duration(0, 1) if name == "jitter" else DURATIONS[name.upper()]
        wrong = duration_problem(name, value, allowed)
        if wrong:
            raise ImproperlyConfigured(f"{where}: {wrong}")
        number = seconds(value)
        assert number is not None
        chosen[name] = number
    return ModelOptions(**chosen)


def declared_options(options: type | None) -> Mapping[str, Any]:
    """The public attributes of a ``class CacheAside`` and its bases, the nearest first."""
    found: dict[str, Any] = {}
    for base in reversed(options.__mro__ if options else ()):
        if base is not object:
            found.update((name, value) for name, value in vars(base).items() if not name.startswith("_"))
    return found

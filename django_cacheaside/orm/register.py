"""Models that can't be edited: ``register`` makes one a cached model, ``cached`` reads it.

    register(User, ttl=60)
    cached(User).get(pk=1)

Nothing is added to the model. Importable as early as an ``apps.py``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from django_cacheaside.later import is_imported, later
from django_cacheaside.orm.managers import CachedManager
from django_cacheaside.orm.options import ModelOptions, checked_options, inherits
from django_cacheaside.orm.receivers import connect_receivers
from django_cacheaside.orm.registry import refuse_no_model, registry

if TYPE_CHECKING:
    from django_cacheaside.orm.net import wrapper
else:
    wrapper = later("django_cacheaside.orm.net.wrapper")

_MIXIN = "django_cacheaside.orm.mixin.CacheAsideMixin"

_waiting: dict[type[Model], ModelOptions] = {}
"""Registered before writes are heard of: not served yet."""
_is_wired = False


def register(model: type[Model], **options: Any) -> None:
    """Make a model a cached one, below its class in ``models.py`` or in ``AppConfig.ready``.

    Args:
        model: A proxy stands for its model: they share their rows.
        options: As in ``class CacheAside``. Durations in seconds.

    Raises:
        TypeError: It is no model's class; a name like "auth.User" does not do.
        ImproperlyConfigured: An option is wrong; the model is a cached one already, abstract, or swapped out; or our
            app is not installed.
    """
    refuse_no_model(model, call="register(Model)")
    where = f"register({model._meta.label})"
    if not apps.is_installed("django_cacheaside"):
        raise ImproperlyConfigured(f"{where}: add 'django_cacheaside' to INSTALLED_APPS; without it no write is seen.")
    if model._meta.abstract:
        raise ImproperlyConfigured(f"{where}: an abstract model has no rows. Register the models derived from it.")
    if model._meta.swapped:
        raise ImproperlyConfigured(f"{where}: it is swapped for {model._meta.swapped}. Register that one.")
    concrete = model._meta.concrete_model or model
    if inherits(concrete, _MIXIN):
        raise ImproperlyConfigured(
            f"{where}: it has CacheAsideMixin, so it is cached already. Put the options into its class CacheAside."
        )
    if concrete in _waiting or registry.get(concrete) is not None:
        raise ImproperlyConfigured(
            f"{where}: it is a cached model already, by another call or by a proxy of it that has CacheAsideMixin. "
            "Keep one call, with all its options."
        )
    checked = checked_options(concrete, options, where=where)
    if _is_wired:
        _take_up(concrete, checked)
    else:
        _waiting[concrete] = checked


def take_up_waiting() -> None:
    """Serve what was registered so far, and at once what will be. Idempotent."""
    global _is_wired
    while _waiting:
        _take_up(*_waiting.popitem())
    _is_wired = True


def _take_up(model: type[Model], options: ModelOptions) -> None:
    registry.add(model, options)
    connect_receivers(model)
    forget_plans()  # its table has a new reader


def forget_plans() -> None:
    """A model was added: who reads which table has changed. Where nobody has connected yet nothing was planned."""
    if is_imported(wrapper):
        wrapper.forget_plans()


def cached(model: type[Model]) -> CachedManager:
    """The manager that serves a model's rows from the cache; ``Model.cached`` where there is one.

    Raises:
        LookupError: The model is not cached; the message lists those that are.
        TypeError: It is no model's class.
    """
    refuse_no_model(model, call="cached(Model)")
    if (model._meta.concrete_model or model) not in _waiting:
        registry.for_model(model)
    return _manager_of(model)


@cache
def _manager_of(model: type[Model]) -> CachedManager:
    if inherits(model, _MIXIN):
        own = getattr(model, "cached", None)
        if isinstance(own, CachedManager):
            return own
    manager = CachedManager()
    manager.model = model
    manager.name = "cached"
    return manager

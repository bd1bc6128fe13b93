"""The policy of a cached model: its ``class CacheAside``, as ``Meta`` is its options, or what ``register`` is given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from django_cacheaside import conf
from django_cacheaside.later import later
from django_cacheaside.orm.index.declarations import KeyDeclaration

if TYPE_CHECKING:
    from django_cacheaside.engine import policy as policies
    from django_cacheaside.engine.near.policy import NearPolicy
    from django_cacheaside.orm import near as near_options
else:
    near_options = later("django_cacheaside.orm.near")
    policies = later("django_cacheaside.engine.policy")

OPTIONS = (
    "ttl",
    "jitter",
    "negative_ttl",
    "stale",
    "on_write",
    "keys",
    "exclude",
    "near",
    "precise_updates",
    "shared",
    "label",
)

ON_WRITE = ("invalidate", "refresh")

_DURATIONS = ("ttl", "jitter", "negative_ttl", "stale")
_LABEL = r"[a-z_]\w*\.[a-z_]\w*"
_USER_BASE = "django.contrib.auth.base_user.AbstractBaseUser"


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What a model declares for itself; None where the settings decide. Durations in seconds.

    Args:
        keys: By what else than the primary key rows are found.
        exclude: The attnames of the columns that are not stored in Redis; deferred on served instances.
        stale: How long a value is served beyond its time to live, while it is loaded again.
        refreshes_on_write: Is a row that was written loaded again at once, rather than by its next reader?
        near: How much of it each process keeps itself, and how old that may be.
        shared: Is its table the same one in every namespace?
        label: What its keys carry in place of its own ``app_label.model_name``: that of the class before it.
        precise_updates: Is a write by a condition asked which rows it hit, rather than that the whole model is dropped?
    """

    ttl: float | None = None
    jitter: float | None = None
    negative_ttl: float | None = None
    stale: float | None = None
    refreshes_on_write: bool = False
    keys: tuple[KeyDeclaration, ...] = ()
    exclude: frozenset[str] = frozenset()
    near: NearPolicy | None = None
    precise_updates: bool = False
    shared: bool = False
    label: str | None = None

    def policy(self, settings: conf.Settings) -> policies.Policy:
        """The durations that hold for the model."""

        def chosen_ms(own: float | None, default: float) -> int:
            return round(1000 * (default if own is None else own))

        return policies.Policy(
            ttl_ms=chosen_ms(self.ttl, settings.TTL),
            jitter=settings.JITTER if self.jitter is None else self.jitter,
            negative_ttl_ms=chosen_ms(self.negative_ttl, settings.NEGATIVE_TTL),
            lease_ms=chosen_ms(None, settings.LEASE),
            wait_ms=chosen_ms(None, settings.WAIT),
            stale_ms=chosen_ms(self.stale, settings.STALE),
        )


def read_options(model: type[Model]) -> ModelOptions:
    """The options of a model's ``class CacheAside``, inherited ones included.

    Raises:
        ImproperlyConfigured: An option is unknown or out of its range.
    """
    declared = dict(declared_options(getattr(model, "CacheAside", None)))
    if "label" not in vars(vars(model).get("CacheAside", object)):
        declared.pop("label", None)  # a base's: two models under one name would take each other's rows for their own
    return checked_options(model, declared, where=f"{model._meta.label}.CacheAside")


def checked_options(model: type[Model], declared: Mapping[str, Any], *, where: str) -> ModelOptions:
    """The options that were declared for a model.

    Args:
        where: They stand, as an error shall say it.

    Raises:
        ImproperlyConfigured: An option is unknown or out of its range, or ``exclude`` names no column that can be left
            out.
    """
    chosen: dict[str, Any] = {}
    for name, value in declared.items():
        if name not in OPTIONS:
            raise ImproperlyConfigured(f"{where} has no option {name!r}. {conf.nearest(name, OPTIONS)}")
        if name not in _DURATIONS:
            continue
        allowed = conf.Duration(0, 1) if name == "jitter" else conf.DURATIONS[name.upper()]
        wrong = conf.duration_problem(name, value, allowed)
        if wrong:
            raise ImproperlyConfigured(f"{where}: {wrong}")
        number = conf.seconds(value)
        assert number is not None
        chosen[name] = number
    exclude = _excluded(model, declared["exclude"], where) if "exclude" in declared else _excluded_by_default(model)
    keys = _declarations(declared.get("keys", ()), where)
    flags = {name: declared.get(name, False) for name in ("precise_updates", "shared")}
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ImproperlyConfigured(f"{where}: {name} is {value!r}; it must be True or False.")
    label = declared.get("label")
    if label is not None and not (isinstance(label, str) and re.fullmatch(_LABEL, label)):
        raise ImproperlyConfigured(f"{where}: label is {label!r}; it takes a name like {model._meta.label_lower!r}.")
    on_write = declared.get("on_write", "invalidate")
    if on_write not in ON_WRITE:
        raise ImproperlyConfigured(f"{where}: on_write is {on_write!r}; it must be 'invalidate' or 'refresh'.")
    chosen["refreshes_on_write"] = on_write == "refresh"
    is_near = declared.get("near", False)
    chosen["near"] = None if is_near is False else near_options.near_policy(is_near, where)
    return ModelOptions(**chosen, keys=keys, exclude=exclude, label=label, **flags)


def declared_options(options: type | None) -> Mapping[str, Any]:
    """The public attributes of a ``class CacheAside`` and its bases, the nearest first."""
    found: dict[str, Any] = {}
    for base in reversed(options.__mro__ if options else ()):
        if base is not object:
            found.update((name, value) for name, value in vars(base).items() if not name.startswith("_"))
    return found


def inherits(model: type[Model], base: str) -> bool:
    """Is a class of this dotted path among the bases of a model?

    By name: an ``apps.py`` may import who asks, and no model can be imported as early as that.
    """
    return any(f"{one.__module__}.{one.__qualname__}" == base for one in model.__mro__)


def _declarations(keys: object, where: str) -> tuple[KeyDeclaration, ...]:
    if not isinstance(keys, (list, tuple)):
        raise ImproperlyConfigured(f"{where}: keys is {keys!r}; it takes a list of Unique, Listing and Derived.")
    for key in keys:
        if not isinstance(key, KeyDeclaration):
            said = f"Unique({key!r})" if isinstance(key, str) else "a Unique, a Listing or a Derived"
            raise ImproperlyConfigured(f"{where}: keys has {key!r} in it; say {said}.")
    return tuple(keys)


def _excluded(model: type[Model], names: object, where: str) -> frozenset[str]:
    if not isinstance(names, (list, tuple, set, frozenset)) or not all(isinstance(name, str) for name in names):
        raise ImproperlyConfigured(f"{where}: exclude is {names!r}; it takes a list of field names.")
    fields = model._meta.concrete_fields
    needed = {field.attname for field in fields if field.primary_key}
    needed.update(field.attname for field in model._meta.pk_fields)
    by_name = {name: field.attname for field in fields for name in (field.attname, field.name)}
    excluded = set()
    for name in names:
        if name == "pk" or by_name.get(name) in needed:
            raise ImproperlyConfigured(f"{where}: exclude names {name!r}, the primary key, by which hits are checked.")
        if name not in by_name:
            near = conf.nearest(name, tuple(field.name for field in fields if field.attname not in needed))
            raise ImproperlyConfigured(f"{where}: exclude names {name!r}, no column of {model._meta.label}. {near}")
        excluded.add(by_name[name])
    return frozenset(excluded)


def _excluded_by_default(model: type[Model]) -> frozenset[str]:
    """The password's hash of a user, whoever declares the model."""
    if not inherits(model, _USER_BASE):
        return frozenset()
    return frozenset(field.attname for field in model._meta.concrete_fields if field.name == "password")

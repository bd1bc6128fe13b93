"""The key registry: which models are cached, and which keys each of them has.

    registry.for_model(Product).keys    # (Key(kind="row", pattern="{shop.product@<database>}e:<id>", ttl_s=330.0), …)

A proxy shares the entry of its concrete model. Models are added as their classes are prepared; nothing is read from the
database or from Redis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Manager, Model, QuerySet
from django.db.models.base import ModelBase

from django_cacheaside import conf
from django_cacheaside.engine.tally import Tally
from django_cacheaside.later import later
from django_cacheaside.orm.options import ModelOptions, read_options

if TYPE_CHECKING:
    from django_cacheaside import keys as key_spaces
    from django_cacheaside.engine import schema
    from django_cacheaside.orm.index import resolve
else:
    key_spaces = later("django_cacheaside.keys")
    resolve = later("django_cacheaside.orm.index.resolve")
    schema = later("django_cacheaside.engine.schema")


@dataclass(frozen=True, slots=True)
class Key:
    """One kind of key of a model.

    Args:
        kind: ``row`` for the entry of a row; ``unique``, ``listing`` and ``derived`` for those of declared keys; after
            each of these ``lease`` for the lease beside it, and ``epoch`` for the epoch of them all; ``schema`` for
            what is told of the columns of rows.
        pattern: The key as it stands in Redis behind the alias's prefix; what varies is in angle brackets.
        ttl_s: Longest life in seconds, jitter included.
    """

    kind: str
    pattern: str
    ttl_s: float


def refuse_no_model(what: object, *, call: str) -> None:
    """Say what ``call`` takes, if it was given something else than a model's class.

    Raises:
        TypeError: That, with what to pass instead.
    """
    if isinstance(what, ModelBase):
        return
    if isinstance(what, (Manager, QuerySet)):  # its name alone: to represent a queryset is to evaluate it
        said = f"a {type(what).__name__}: pass {what.model._meta.object_name}"
    elif isinstance(what, Model):
        said = f"an instance: pass {type(what).__name__}"
    elif isinstance(what, str):
        said = f"the name {what!r}: import the class, or ask apps.get_model({what!r}) for it"
    else:
        said = f"a {type(what).__name__}"
    raise TypeError(f"{call} takes a model's class, not {said}.")


class Registration:
    """One cached model, with its options and its counts in this process."""

    __slots__ = ("_declared", "label", "model", "options", "tally")

    def __init__(self, model: type[Model], options: ModelOptions) -> None:
        self.model = model
        self.label = options.label or model._meta.label_lower
        self.options = options
        self.tally = Tally()
        self._declared: tuple[resolve.ResolvedKey, ...] | None = None

    @property
    def declared(self) -> tuple[resolve.ResolvedKey, ...]:
        """What ``CacheAside.keys`` declares. All models must be loaded.

        Raises:
            KeyDeclarationError: A declaration is wrong.
        """
        if self._declared is None:
            found = list(resolve.resolve_all(self.model, self.options.keys, exclude=self.options.exclude))
            for one in found:
                if isinstance(one, resolve.KeyDeclarationError):
                    raise one
            self._declared = tuple(one for one in found if isinstance(one, resolve.ResolvedKey))
        return self._declared

    @property
    def keys(self) -> tuple[Key, ...]:
        """Each kind of key that the model has, in whichever database.

        Raises:
            ImproperlyConfigured: The settings are wrong.
        """
        names = ["", *(f".{declared.name}" for declared in self.declared)]
        return self.keys_in(
            [key_spaces.KeySpace(self.label + name, "<database>", str) for name in names], conf.get_settings()
        )

    def keys_in(self, spaces: Sequence[key_spaces.KeySpace], settings: conf.Settings) -> tuple[Key, ...]:
        """Each kind of key that the model has in one database.

        Args:
            spaces: Of its rows, then of each declared key in its order.
        """
        policy = self.options.policy(settings)
        life_s = policy.ttl_ms * (1 + policy.jitter) / 1000
        entries = [("row", (self.model._meta.pk.name,)), *((one.kind, one.attnames) for one in self.declared)]
        keys: list[Key] = []
        for space, (kind, varying) in zip(spaces, entries, strict=True):
            ident = "|".join(f"<{name}>" for name in varying)
            keys += (
                Key(kind, space.entry(ident), life_s),
                Key("lease", space.lease(ident), policy.lease_ms / 1000),
                Key("epoch", space.epoch, policy.epoch_ms / 1000),
            )
            if kind == "row":
                keys.append(Key("schema", space.schema("<fingerprint>"), schema.RECORD_S))
        return tuple(keys)

    def __repr__(self) -> str:
        return f"Registration({self.label})"


class Registry:
    """All cached models of the process, by their concrete class."""

    def __init__(self) -> None:
        self._registrations: dict[type[Model], Registration] = {}
        self._owners: dict[str, str] = {}

    def add(self, model: type[Model], options: ModelOptions | None = None) -> Registration:
        """Make a model a cached one.

        Args:
            options: None for those of its ``class CacheAside``.

        Raises:
            ImproperlyConfigured: Its options are wrong, or another model has its label.
        """
        concrete = model._meta.concrete_model or model
        registration = Registration(concrete, read_options(concrete) if options is None else options)
        own = concrete._meta.label
        owner = self._owners.setdefault(registration.label, own)
        if owner != own:
            raise ImproperlyConfigured(
                f"{own} and {owner} would both have their keys under {registration.label!r}, and take each other's "
                "rows for their own. Give the name as label to one of them at most."
            )
        self._registrations[concrete] = registration
        return registration

    def remove(self, model: type[Model]) -> None:
        """Forget a model, as tests do with models of their own."""
        self._owners.pop(self._registrations.pop(model._meta.concrete_model or model).label, None)

    def for_model(self, model: type[Model]) -> Registration:
        """What is known of a cached model.

        Raises:
            LookupError: The model is not cached; the message lists those that are.
        """
        found = self._registrations.get(model._meta.concrete_model or model)
        if found is None:
            raise LookupError(f"{model._meta.label} is not a cached model. {self.listing()}")
        return found

    def get(self, model: type[Model]) -> Registration | None:
        """As ``for_model``, but None for a model that is not cached."""
        return self._registrations.get(model._meta.concrete_model or model)

    def listing(self) -> str:
        """The cached models in one sentence."""
        labels = sorted(registration.model._meta.label for registration in self)
        return (
            f"Cached models: {', '.join(labels)}."
            if labels
            else "No model is cached yet: mix in CacheAsideMixin, or register() it."
        )

    def by_label(self, label: str) -> list[Registration]:
        """The cached models that ``app_label`` or ``app_label.Model`` names, in the order of their names.

        Raises:
            LookupError: It names none; the message says the nearest and lists all.
        """
        wanted = label.lower()
        found = [
            one for one in self if wanted in (one.label, one.model._meta.label_lower, one.model._meta.app_label.lower())
        ]
        if not found:
            names = [name for one in self for name in (one.model._meta.label, one.model._meta.app_label)]
            close = get_close_matches(label, names, n=1)
            suggestion = f" Did you mean {close[0]!r}?" if close else ""
            raise LookupError(f"{label!r} names no cached model.{suggestion} {self.listing()}")
        return sorted(found, key=lambda one: one.label)

    def __iter__(self) -> Iterator[Registration]:
        return iter(list(self._registrations.values()))


registry = Registry()

"""The namespace in force: which of several tables of one name a statement means.

Where each tenant has a schema of its own, the same SQL means other rows in each of them. The namespace becomes part of
the keys: rows, epochs and declared keys of two namespaces have nothing in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.core.exceptions import ImproperlyConfigured

from django_cacheaside.conf import NAMESPACE, NAMESPACE_RULE

_held: ContextVar[str | None] = ContextVar("django_cacheaside_namespace", default=None)


class Namespace:
    """Who knows the namespace in force.

    Args:
        source: ``CACHEASIDE["NAMESPACE"]``: the namespace itself, or a callable that is asked each time.
    """

    def __init__(self, source: str | Callable[[], str]) -> None:
        self._source = source

    def in_force(self) -> str:
        """The namespace of what begins now; within ``held``, of what has begun there.

        Raises:
            ImproperlyConfigured: The callable failed, or gave no namespace. A read or statement that would need it is
                not sent: without it, nobody can tell whose rows it means.
        """
        return _held.get() or self._ask()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Ask once, and keep to it for all keys of one statement: those too that are told by what it returns."""
        token = _held.set(self._ask())
        try:
            yield
        finally:
            _held.reset(token)

    def _ask(self) -> str:
        if isinstance(self._source, str):
            return self._source
        try:
            found: object = self._source()
        except Exception as error:
            raise ImproperlyConfigured(
                f"CACHEASIDE['NAMESPACE'] failed, so nobody can tell whose rows are meant: {error!r}"
            ) from error
        if not isinstance(found, str) or not NAMESPACE.fullmatch(found):
            raise ImproperlyConfigured(f"CACHEASIDE['NAMESPACE'] gave {found!r}; it must give {NAMESPACE_RULE}.")
        return found

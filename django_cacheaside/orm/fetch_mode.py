"""A fetch mode (Django 6.1) that follows foreign keys through the cache. There is no such module before 6.1.

from django_cacheaside.orm.fetch_mode import FETCH_CACHED_PEERS

for order in Order.objects.fetch_mode(FETCH_CACHED_PEERS):
    order.product.category    # two batches for all orders: their products, and the categories of those
"""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.db.models.fetch_modes import FetchPeers

from django_cacheaside.orm.prefetch import cached_relation, prefetch


class FetchCachedPeers(FetchPeers):
    """``FETCH_PEERS``, and what refers to the primary key of a cached model is one batch through the cache."""

    __slots__ = ()

    def fetch(self, fetcher: Any, instance: Model) -> None:
        """Load what ``fetcher`` stands for, for all that were read together with ``instance``."""
        relation = cached_relation(fetcher)
        if relation is None:
            super().fetch(fetcher, instance)
            return
        state: Any = instance._state
        peers = {id(peer): peer for weakly in state.peers if (peer := weakly()) is not None}
        if len(peers) > 1:
            prefetch(relation.model, peers.values(), relation.name)
        if len(peers) <= 1 or not relation.is_cached(instance):
            self._fetch_alone(fetcher, instance, relation)

    def _fetch_alone(self, fetcher: Any, instance: Model, relation: Any) -> None:
        prefetch(relation.model, [instance], relation.name)
        if relation.get_cached_value(instance) is None:  # there is no such row: one alone is told so
            relation.delete_cached_value(instance)
            fetcher.fetch_one(instance)

    def __reduce__(self) -> str:
        return "FETCH_CACHED_PEERS"


FETCH_CACHED_PEERS = FetchCachedPeers()

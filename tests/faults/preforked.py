"""A site for WSGI servers: each answer tells which worker gave it, and how it came by the row.

Where ``CACHEASIDE_TEST_FIRST_READ`` names a row, whoever imports the application reads it until it is near: with
``--preload``, and in uWSGI without ``lazy-apps``, that is the master, before it forks.
"""

from __future__ import annotations

import os
import threading
import time

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

application = get_wsgi_application()

from django.db import connections, transaction  # noqa: E402
from django.db.models import F  # noqa: E402

from django_cacheaside.engine.tally import Event  # noqa: E402
from django_cacheaside.orm.registry import registry  # noqa: E402
from tests.app.handy import Quick  # noqa: E402

FIRST_READ_S = 10.0


def read(request: HttpRequest, pk: int) -> JsonResponse:
    """The version that this worker reads, and whether it was near, a hit, or neither."""
    counts = registry.for_model(Quick).tally.counts
    before = dict(counts)
    version = Quick.cached.get(pk=pk).version
    how = next((event.name for event in (Event.NEAR_HIT, Event.HIT) if counts[event] > before[event]), "")
    threads = sorted(one.name for one in threading.enumerate() if one.name.startswith("cacheaside-"))
    return JsonResponse({"pid": os.getpid(), "version": version, "how": how, "threads": threads})


def write(request: HttpRequest, pk: int) -> JsonResponse:
    """The next version, and what this worker reads of it at once."""
    with transaction.atomic():
        Quick.objects.filter(pk=pk).update(version=F("version") + 1)
        version = Quick.objects.get(pk=pk).version
    return JsonResponse({"pid": os.getpid(), "version": version, "read": Quick.cached.get(pk=pk).version})


urlpatterns = [path("read/<int:pk>", read), path("write/<int:pk>", write)]


def read_first(pk: int) -> None:
    """Have the row near in this process, and hang up the database, as who forks must."""
    counts = registry.for_model(Quick).tally.counts
    deadline_s = time.monotonic() + FIRST_READ_S
    while not counts[Event.NEAR_HIT]:
        assert time.monotonic() < deadline_s
        Quick.cached.get(pk=pk)
    connections.close_all()


if first := os.environ.get("CACHEASIDE_TEST_FIRST_READ"):
    read_first(int(first))

"""The board of airports and the page of one, read through the cache."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import OperationalError
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from airports.load import HUBS
from airports.models import Airport, Country
from airports.served import served

ON_THE_BOARD = range(1, len(HUBS) + 1)
"""Primary keys."""


@require_GET
def board(request: HttpRequest) -> HttpResponse:
    """Thirty airports and their countries: two batches, and not a single query once they are in the cache."""
    rows = []
    with served() as page, suppress(OperationalError):  # there is no table yet: no airports either
        airports = Airport.cached.in_bulk(ON_THE_BOARD).values()
        countries = Country.cached.in_bulk({airport.country_id for airport in airports})
        rows = [(airport, countries[airport.country_id], local_time(airport)) for airport in airports]
    return render(request, "airports/board.html", {"rows": rows, "page": page})


@require_http_methods(["GET", "HEAD", "POST"])
def airport(request: HttpRequest, pk: int) -> HttpResponse:
    """One airport. POST writes its row: the next GET is a miss and shows the new version."""
    if request.method == "POST":
        Airport.objects.filter(pk=pk).update(version=F("version") + 1)
        return redirect("airport", pk)
    with served() as page:
        try:
            found = Airport.cached.get(pk=pk)
            country = Country.cached.get(pk=found.country_id)
        except Airport.DoesNotExist:
            raise Http404(f"There is no airport {pk}.") from None
    context = {"airport": found, "country": country, "local_time": local_time(found), "page": page}
    return render(request, "airports/airport.html", context)


def local_time(airport: Airport) -> str:
    """Hours and minutes at the airport, now."""
    try:
        zone = ZoneInfo(airport.tz)
    except ZoneInfoNotFoundError:  # this machine has no time zones, or older ones
        return "--:--"
    return f"{datetime.now(zone):%H:%M}"

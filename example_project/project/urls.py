"""The board, a page for each airport, and the API."""

from __future__ import annotations

from airports.api import AirportByCodeView, AirportsOfCountryView, AirportView
from airports.views import airport, board
from django.urls import path

urlpatterns = [
    path("", board, name="board"),
    path("airports/<int:pk>/", airport, name="airport"),
    path("api/airports/<int:pk>/", AirportView.as_view()),
    path("api/airports/by-code/<str:code>/", AirportByCodeView.as_view()),
    path("api/countries/<str:country>/airports/", AirportsOfCountryView.as_view()),
]

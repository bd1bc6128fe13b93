"""The board, and a page for each airport."""

from __future__ import annotations

from airports.views import airport, board
from django.urls import path

urlpatterns = [path("", board, name="board"), path("airports/<int:pk>/", airport, name="airport")]

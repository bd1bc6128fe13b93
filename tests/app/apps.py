"""The app of the tests' models."""

from __future__ import annotations

from django.apps import AppConfig


class TestAppConfig(AppConfig):
    """Without migrations: its tables are made from the models as they are."""

    name = "tests.app"
    label = "app"

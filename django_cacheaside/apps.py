"""``"django_cacheaside"`` in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig


class CacheAsideConfig(AppConfig):
    """Wires the cached models up when all models are loaded. Start-up touches neither Redis nor the database."""

    name = "django_cacheaside"
    label = "cacheaside"
    verbose_name = "Cache-aside"

    def ready(self) -> None:
        """Register checks and cached models.

        Raises:
            ImproperlyConfigured: ``CACHEASIDE`` or a model's ``class CacheAside`` is wrong.
        """
        # models must be loaded before anything that knows them is imported
        from django_cacheaside import checks
        from django_cacheaside.orm.wiring import wire

        checks.register_checks()
        wire()

"""Django REST framework through the cache: ``CacheAsideViewMixin``. Needs the extra ``drf``."""

from django_cacheaside.rest_framework.views import CacheAsideViewMixin

__all__ = ["CacheAsideViewMixin"]

"""Django's admin over the tests' models, as a URLconf: ``/default/app/item/…`` and ``/sqlite/app/item/…``."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin, TabularInline
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.db.models import Model, QuerySet
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from tests.app.catalog import Item, ItemTag
from tests.orm.world import name


class TagInline(TabularInline):
    """Rows below an item, written with it."""

    model = ItemTag
    extra = 0

    def get_queryset(self, request: Any) -> QuerySet[ItemTag]:
        return super().get_queryset(request).using(self.admin_site.name)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        return super().formfield_for_foreignkey(db_field, request, using=self.admin_site.name, **kwargs)


class ItemAdmin(ModelAdmin):
    """As Django's documentation has it for several databases."""

    fields = ["name", "slug", "stock"]
    list_display = ["name", "stock"]
    list_editable = ["stock"]
    inlines = [TagInline]

    def get_queryset(self, request: Any) -> QuerySet[Item]:
        return super().get_queryset(request).using(self.admin_site.name)

    def save_model(self, request: Any, obj: Model, form: Any, change: bool) -> None:
        obj.save(using=self.admin_site.name)

    def save_formset(self, request: Any, form: Any, formset: Any, change: bool) -> None:
        for one in formset.save(commit=False):
            one.save(using=self.admin_site.name)
        for one in formset.deleted_objects:
            one.delete(using=self.admin_site.name)

    def delete_model(self, request: Any, obj: Model) -> None:
        obj.delete(using=self.admin_site.name)


def site_of(db: str) -> AdminSite:
    """The admin of a database."""
    site = AdminSite(name=db)
    site.register(Item, ItemAdmin)
    return site


urlpatterns = [path(f"{db}/", site_of(db).urls) for db in ("default", "sqlite")]


def post(db: str, where: str, **data: Any) -> None:
    """Send a form of the admin, as somebody who may."""
    client = Client()
    with override_settings(ROOT_URLCONF="tests.orm.back_office"):
        user = get_user_model().objects.create_superuser(name())
        client.force_login(user, f"{ModelBackend.__module__}.{ModelBackend.__qualname__}")
        answer = client.post(f"/{db}/app/item/{where}", data)
    assert answer.status_code == 302, answer.content.decode()

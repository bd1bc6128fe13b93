"""The code of docs/rest_framework.md runs, and does what is said of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.urls import include, path
from rest_framework import renderers, routers

from tests.app.catalog import Category, Ware
from tests.docs.test_documents import ROOT, blocks
from tests.fronts.api import Api

DOCUMENT = ROOT / "docs" / "rest_framework.md"
PACKAGE = ROOT / "django_cacheaside" / "rest_framework"


@pytest.fixture
def api() -> Any:
    """The document's views, over a model of the suite."""
    names: dict[str, Any] = {"__name__": "tests.app.document", "Product": Ware}
    for block in blocks(DOCUMENT):
        exec(block, names)
    router = routers.SimpleRouter()
    for name in ("Product", "ProductPage"):
        view = type(name, (names[f"{name}ViewSet"],), {"renderer_classes": [renderers.JSONRenderer]})
        router.register(name, view, basename=name)
    api = Api("default")
    api.at(path("", include(router.urls)))
    yield api
    api.close()


@pytest.mark.usefixtures("commits")
class TestViews:
    def test_are_served_by_primary_key(self, api: Api) -> None:
        ware = Ware.objects.create(name="lamp", category=Category.objects.create(name="lights"))
        assert [api.get(f"/Product/{ware.pk}/").headers["Cache-Status"] for _ in range(2)] == [
            "CacheAside; fwd=miss; stored",
            "CacheAside; hit",
        ]
        etag = api.get(f"/Product/{ware.pk}/").headers["ETag"]
        assert api.get(f"/Product/{ware.pk}/", if_none_match=etag).status_code == 304

    def test_have_etags_of_the_rows_that_they_name(self, api: Api) -> None:
        category = Category.objects.create(name="lights")
        url = f"/ProductPage/{Ware.objects.create(name='lamp', category=category).pk}/"
        etag = api.get(url).headers["ETag"]
        assert api.get(url, if_none_match=etag).status_code == 304
        Category.objects.filter(pk=category.pk).update(name="lamps")
        assert api.get(url, if_none_match=etag).data["category_name"] == "lamps"


class TestTable:
    def test_has_each_detail_that_the_code_gives(self) -> None:
        code = Path(PACKAGE, "cache_status.py").read_text("utf-8")
        document = DOCUMENT.read_text("utf-8")
        told = set(re.findall(r'"(?:detail|fwd)": "([a-z-]+)"', code)) | set(re.findall(r'\] else "([a-z-]+)"\}', code))
        assert told == set(re.findall(r"(?:detail|fwd)=([a-z-]+)", document))

"""What the documents say is what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connection, models
from django.test.utils import isolate_apps

from django_cacheaside import checks, conf
from django_cacheaside.exceptions import CacheAsideOverloaded
from django_cacheaside.orm.net.wrapper import forget_plans
from django_cacheaside.orm.registry import registry

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def lamp() -> Iterator[Any]:
    """The README's model, under a name of its own: ``Product`` is one of the suite's."""
    names: dict[str, Any] = {"__name__": "tests.app.readme"}
    with isolate_apps("tests.app"):
        exec(blocks(ROOT / "README.md")[1].replace("Product", "Lamp"), names)
        model = names["Lamp"]
        with connection.schema_editor() as editor:
            editor.create_model(model)
        yield model
        with connection.schema_editor() as editor:
            editor.delete_model(model)
    registry.remove(model)
    forget_plans()


class TestReadme:
    def test_its_settings_are_valid(self) -> None:
        names: dict[str, Any] = {}
        exec(blocks(ROOT / "README.md")[0], names)
        assert not list(conf.settings_problems(names["CACHEASIDE"]))
        assert names["CACHES"][names["CACHEASIDE"]["CACHE"]]["BACKEND"] == "django_redis.cache.RedisCache"

    @pytest.mark.usefixtures("commits")
    def test_its_reads_and_writes_run(self, lamp: type[models.Model]) -> None:
        lamp.objects.bulk_create([lamp(name=name, price=10) for name in ("floor", "desk", "wall")])
        for line in blocks(ROOT / "README.md")[2].replace("Product", "Lamp").splitlines():
            if line.startswith("await "):
                names: dict[str, Any] = {"Lamp": lamp}
                exec(f"async def read():\n    return {line}", names)
                assert async_to_sync(names["read"])().name == "floor"
            else:
                exec(line, {"Lamp": lamp})
        assert lamp.cached.get(pk=1).price == 8
        assert registry.for_model(lamp).options.ttl == 600


class TestSettings:
    def test_its_examples_are_valid(self, monkeypatch: pytest.MonkeyPatch) -> None:
        examples = [one for one in blocks(ROOT / "docs" / "settings.md") if "CACHEASIDE = " in one]
        assert len(examples) == 3
        for alias in ("default", "pool", "eu", "us"):
            monkeypatch.setitem(settings.DATABASES, alias, {"NAME": "shop", "HOST": alias})
        for example in examples:
            names: dict[str, Any] = {}
            exec(example, names)
            names["CACHEASIDE"].pop("NAMESPACE", None)  # of a module of theirs
            assert not list(conf.settings_problems(names["CACHEASIDE"])), example

    def test_every_key_is_documented_with_its_default(self) -> None:
        text = (ROOT / "docs" / "settings.md").read_text("utf-8")
        documented = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^|`]+)`? \|", text, re.MULTILINE))
        assert set(documented) == set(conf.KNOWN)
        for name, default in conf.DEFAULTS.items():
            written = documented[name].strip().strip('"')
            assert written in (str(default), f"{default:g}" if isinstance(default, float) else ""), name

    def test_its_model_is_valid(self) -> None:
        with isolate_apps("tests.app"):
            names: dict[str, Any] = {"__name__": "tests.app.readme"}
            (text,) = [one for one in blocks(ROOT / "docs" / "settings.md") if "class Currency" in one]
            exec(text, names)
            registration = registry.for_model(names["Currency"])
        assert registration.options.ttl == 3600
        registry.remove(names["Currency"])
        forget_plans()

    def test_every_check_is_documented(self) -> None:
        text = (ROOT / "docs" / "settings.md").read_text("utf-8")
        documented = set(re.findall(r"`cacheaside\.([EW]\d{3})`", text))
        assert documented == set(re.findall(r"^    ([EW]\d{3}) ", checks.__doc__ or "", re.MULTILINE))


class TestLinks:
    @pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
    def test_lead_somewhere(self, document: Path) -> None:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), target


class TestPublicNames:
    def test_models_exports_what_it_says(self) -> None:
        from django_cacheaside import models as door

        assert sorted(door.__all__) == sorted(
            [
                "CacheAsideManager",
                "CacheAsideMixin",
                "CacheAsideQuerySet",
                "CachedManager",
                "CachedQuerySet",
                "JournalEntry",
            ]
        )
        assert all(hasattr(door, name) for name in door.__all__)


class TestOperations:
    def test_its_middleware_answers_what_is_refused(self) -> None:
        (block,) = [one for one in blocks(ROOT / "docs" / "operations.md") if "OverloadMiddleware" in one]
        names: dict[str, Any] = {}
        exec(block, names)
        middleware = names["OverloadMiddleware"](lambda request: request)
        response = middleware.process_exception(None, CacheAsideOverloaded("no"))
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert middleware.process_exception(None, LookupError("no")) is None
        assert middleware("a request") == "a request"

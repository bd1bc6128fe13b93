"""The registry: which models are cached, and what is said of their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models
from django.db.models import QuerySet
from django.test import override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps

from django_cacheaside.conf import Settings
from django_cacheaside.models import CacheAsideMixin
from django_cacheaside.orm import runtime
from django_cacheaside.orm.databases import identity
from django_cacheaside.orm.net.wrapper import forget_plans
from django_cacheaside.orm.options import ModelOptions, read_options
from django_cacheaside.orm.registry import Key, Registration, registry
from tests.app.catalog import (
    Article,
    Cafe,
    Country,
    Item,
    ItemProxy,
    Ledger,
    LedgerTwin,
    Maker,
    Memo,
    Seat,
    Stamped,
    Truck,
    Uncounted,
)
from tests.app.keyed import Gadget
from tests.orm.world import name

KEY_FUNCTIONS = "tests.orm.test_registry"


def hashing(key: str, prefix: str, version: int) -> str:
    """A ``KEY_FUNCTION`` that hashes all but the hash tag."""
    tag, _, rest = key.partition("}")
    return f"{prefix}/{version}/{tag}}}{abs(hash(rest))}"


class TestKeys:
    def test_says_kind_pattern_and_ttl(self) -> None:
        """Defaults: 300 s and a tenth of jitter."""
        assert registry.for_model(Item).keys == (
            Key("row", "{app.item@<database>}e:<id>", 330.0),
            Key("lease", "{app.item@<database>}l:<id>", 3.0),
            Key("epoch", "{app.item@<database>}g", 663.0),
            Key("schema", "{app.item@<database>}s:<fingerprint>", 600.0),
        )

    @pytest.mark.parametrize(
        ("model", "row", "ttl_s"),
        [
            pytest.param(Country, "{app.country@<database>}e:<code>", 330.0, id="text"),
            pytest.param(Cafe, "{app.cafe@<database>}e:<venue_ptr>", 330.0, id="child"),
            pytest.param(ItemProxy, "{app.item@<database>}e:<id>", 330.0, id="proxy-has-its-model-s"),
            pytest.param(Article, "{app.article@<database>}e:<id>", 120.0, id="options-of-an-abstract-base"),
            pytest.param(Memo, "{app.memo@<database>}e:<id>", 60.0, id="one-option-of-its-own"),
            pytest.param(Seat, "{app.seat@<database>}e:<pk>", 330.0, id="composite"),
        ],
    )
    def test_of_each_model(self, model: Any, row: str, ttl_s: float) -> None:
        assert registry.for_model(model).keys[0] == Key("row", row, ttl_s)

    @override_settings(CACHEASIDE={"TTL": 1000, "JITTER": 0, "LEASE": 7})
    def test_follows_the_settings(self) -> None:
        """A model's own options come first."""
        assert [key.ttl_s for key in registry.for_model(Item).keys] == [1000, 7, 2007, 600]
        assert [key.ttl_s for key in registry.for_model(Memo).keys][:2] == [60, 7]

    def test_in_a_database_they_are_those_in_redis(self, db_alias: str) -> None:
        current, connection = runtime.current(), connections[db_alias]
        registration = registry.for_model(Item)
        here = identity(connection)
        patterns = [key.pattern for key in current.keys(registration, connection)]
        assert patterns == [f"t:1:{key.pattern.replace('<database>', here)}" for key in registration.keys]

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            pytest.param({}, ":1:{app.item@%s}e:", id="defaults"),
            pytest.param({"KEY_PREFIX": "shop", "VERSION": 7}, "shop:7:{app.item@%s}e:", id="prefix"),
            pytest.param(
                {"KEY_PREFIX": "p", "KEY_FUNCTION": f"{KEY_FUNCTIONS}.hashing"},
                "p/1/{app.item@%s}",
                id="function-that-hashes",
            ),
        ],
    )
    def test_key_function_prefix_and_version_are_honoured(
        self, databases: None, settings: Any, options: dict[str, Any], expected: str
    ) -> None:
        """A row is served and invalidated under them."""
        here = {option: value for option, value in settings.CACHES["default"].items() if option != "KEY_PREFIX"}
        settings.CACHES = {"default": here | options}
        space = runtime.current().place(registry.for_model(Item), connections["default"]).space
        assert space.entry("5").startswith(expected % identity(connections["default"]))
        item = Item.objects.create(name=name())
        assert Item.cached.get(pk=item.pk) == Item.cached.get(pk=item.pk) == item
        Item.objects.filter(pk=item.pk).update(name="new")
        assert Item.cached.get(pk=item.pk).name == "new"


class TestRegistry:
    def test_knows_every_concrete_model_once(self) -> None:
        registered = [one.model for one in registry]
        assert {Item, Cafe, Truck, LedgerTwin, Seat} <= set(registered)
        assert ItemProxy not in registered
        assert Stamped not in registered
        assert len(set(registered)) == len(registered)

    def test_a_proxy_s_registration_is_its_model_s(self) -> None:
        assert registry.for_model(ItemProxy) is registry.for_model(Item)
        assert registry.get(ItemProxy) is registry.for_model(Item)
        assert repr(registry.for_model(ItemProxy)) == "Registration(app.item)"

    def test_a_model_that_is_not_cached_is_an_error_that_lists_those_that_are(self) -> None:
        assert registry.get(Maker) is None
        with pytest.raises(LookupError, match=r"^app\.Maker is not a cached model\. Cached models: .*app\.Item, "):
            registry.for_model(Maker)

    @pytest.mark.parametrize(
        ("label", "expected"),
        [
            pytest.param("app.Item", ["app.item"], id="model"),
            pytest.param("APP.ITEM", ["app.item"], id="case"),
            pytest.param("app", sorted(one.label for one in registry if one.label.startswith("app.")), id="app"),
        ],
    )
    def test_by_label(self, label: str, expected: list[str]) -> None:
        assert [one.label for one in registry.by_label(label)] == expected

    def test_by_a_misspelt_label_names_the_nearest(self) -> None:
        with pytest.raises(
            LookupError, match=r"^'app\.Itme' names no cached model\. Did you mean 'app\.Item'\? Cached"
        ):
            registry.by_label("app.Itme")

    def test_of_a_cached_model_made_later(self, registered: Callable[..., Registration]) -> None:
        assert registered(ttl=5).options == ModelOptions(ttl=5.0)


@pytest.fixture
def registered() -> Iterator[Callable[..., Registration]]:
    """Declare a cached model with options, as a project's ``models.py`` does."""
    made = []

    def declare(**options: Any) -> Registration:
        with isolate_apps("tests.app"):

            class Late(CacheAsideMixin, models.Model):
                CacheAside = type("CacheAside", (), options)

                class Meta:
                    app_label = "app"

        made.append(Late)
        return registry.for_model(Late)

    yield declare
    for model in made:
        del registry._registrations[model]
    forget_plans()


class TestOptions:
    def test_calm_when_cold(self, registered: Callable[..., Registration]) -> None:
        options = registered(ttl=60, stale=timedelta(minutes=5), on_write="refresh").options
        assert options == ModelOptions(ttl=60.0, stale=300.0, refreshes_on_write=True)
        assert options.policy(Settings(STALE=7)).stale_ms == 300_000
        assert ModelOptions().policy(Settings(STALE=7)).stale_ms == 7000
        assert ModelOptions(stale=0.0).policy(Settings(STALE=7)).stale_ms == 0

    @pytest.mark.parametrize(
        ("model", "expected"),
        [
            pytest.param(Item, ModelOptions(), id="none"),
            pytest.param(Article, ModelOptions(ttl=120, jitter=0), id="of-an-abstract-base"),
            pytest.param(Memo, ModelOptions(ttl=60, jitter=0), id="one-overridden"),
            pytest.param(Uncounted, ModelOptions(negative_ttl=0), id="own"),
        ],
    )
    def test_are_inherited(self, model: Any, expected: ModelOptions) -> None:
        assert read_options(model) == registry.for_model(model).options == expected

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"tll": 5}, r"app\.Late\.CacheAside has no option 'tll'\. Did you mean 'ttl'\?", id="typo"),
            pytest.param({"TTL": 5}, r"app\.Late\.CacheAside has no option 'TTL'\.", id="case"),
            pytest.param({"negativ_ttl": 5}, r"Did you mean 'negative_ttl'\?", id="another-typo"),
            pytest.param({"colour": 5}, r"has no option 'colour'\. There are: ", id="nothing-near"),
            pytest.param({"ttl": "5"}, r"app\.Late\.CacheAside: .*'5'; it takes seconds", id="text"),
            pytest.param({"ttl": 0}, r"app\.Late\.CacheAside: .*must be between", id="too-short"),
            pytest.param({"jitter": 2}, r"app\.Late\.CacheAside: .*jitter", id="jitter"),
            pytest.param({"stale": -1}, r"app\.Late\.CacheAside: stale is -1 s; it must be between", id="stale"),
            pytest.param({"stale": True}, r"app\.Late\.CacheAside: stale is True; it takes seconds", id="stale-bool"),
            pytest.param({"label": "Ledger"}, r"label is 'Ledger'; it takes a name like 'app\.late'", id="label"),
            pytest.param({"label": "app.Ledger"}, r"label is 'app\.Ledger'; it takes", id="label-case"),
            pytest.param({"label": 5}, r"label is 5; it takes a name like 'app\.late'", id="label-number"),
            pytest.param(
                {"label": "app.item"}, r"app\.Late and app\.Item would both have their keys", id="label-taken"
            ),
            pytest.param({"on_write": "update"}, r"on_write is 'update'; it must be 'invalidate' or", id="on-write"),
            pytest.param(
                {"on_write": True}, r"on_write is True; it must be 'invalidate' or 'refresh'", id="on-write-bool"
            ),
        ],
    )
    def test_a_wrong_one_is_an_error_at_start(
        self, options: dict[str, Any], message: str, registered: Callable[..., Registration]
    ) -> None:
        with pytest.raises(ImproperlyConfigured, match=message):
            registered(**options)


class TestLabel:
    """A class was renamed and its table kept: ``Ledger`` is the old release's, ``LedgerTwin`` the new one's."""

    @pytest.fixture
    def release(self) -> Iterator[Callable[..., None]]:
        """Be one release or the other: who has only its own class, and what it declares."""
        both = {model: registry.for_model(model) for model in (Ledger, LedgerTwin)}

        def be(model: Any, label: str | None = None) -> None:
            for one in both:
                if registry.get(one) is not None:
                    registry.remove(one)
            registry.add(model, ModelOptions(label=label))
            forget_plans()

        yield be
        for one in both:
            if registry.get(one) is not None:
                registry.remove(one)
        for one in both:
            registry.add(one)
        forget_plans()

    @pytest.mark.parametrize("is_kept", [True, False])
    def test_of_the_class_before_keeps_the_keys(
        self, release: Callable[..., None], db_alias: str, is_kept: bool
    ) -> None:
        """Both releases void what the other has cached; without it neither does."""
        sides = [(Ledger, None), (LedgerTwin, "app.ledger" if is_kept else None)]
        for (reader, its_label), (writer, label) in (sides, sides[::-1]):
            pk = QuerySet(Ledger).using(db_alias).create(name="old").pk
            release(reader, its_label)
            for _ in range(2):
                assert reader.cached.using(db_alias).get(pk=pk).name == "old"
            release(writer, label)
            writer.objects.using(db_alias).filter(pk=pk).update(name="new")
            release(reader, its_label)
            assert reader.cached.using(db_alias).get(pk=pk).name == ("new" if is_kept else "old")

    def test_makes_the_entries_one(self, release: Callable[..., None], db_alias: str) -> None:
        pk = QuerySet(Ledger).using(db_alias).create(name="old").pk
        release(Ledger)
        Ledger.cached.using(db_alias).get(pk=pk)
        release(LedgerTwin, "app.ledger")
        with CaptureQueriesContext(connections[db_alias]) as queries:
            assert type(LedgerTwin.cached.using(db_alias).get(pk=pk)) is LedgerTwin
        assert list(queries) == []

    def test_commands_know_both_names(self, release: Callable[..., None]) -> None:
        release(LedgerTwin, "app.ledger")
        for label in ("app.LedgerTwin", "app.Ledger"):
            assert [one.model for one in registry.by_label(label)] == [LedgerTwin]
        assert registry.for_model(LedgerTwin).keys[0].pattern == "{app.ledger@<database>}e:<id>"

    @isolate_apps("tests.app")
    def test_is_not_inherited(self) -> None:
        """Nor by an abstract base's options: parent and child have rows of their own under one primary key."""

        class Renamed(CacheAsideMixin, models.Model):
            class CacheAside:
                label = "app.before"
                ttl = 60

            class Meta:
                app_label = "app"

        class Child(Renamed):
            class Meta:
                app_label = "app"

        class Another(Renamed):
            class CacheAside(Renamed.CacheAside):
                ttl = 70

            class Meta:
                app_label = "app"

        try:
            assert read_options(Renamed) == ModelOptions(ttl=60, label="app.before")
            assert read_options(Child) == ModelOptions(ttl=60)
            assert read_options(Another) == ModelOptions(ttl=70)
        finally:
            for model in (Renamed, Child, Another):
                registry.remove(model)
            forget_plans()


class TestDeclaredKeys:
    def test_are_listed_after_the_row_s(self) -> None:
        assert [(key.kind, key.pattern) for key in registry.for_model(Gadget).keys if key.kind != "lease"] == [
            ("row", "{app.gadget@<database>}e:<id>"),
            ("epoch", "{app.gadget@<database>}g"),
            ("schema", "{app.gadget@<database>}s:<fingerprint>"),
            ("unique", "{app.gadget.unique:slug@<database>}e:<slug>"),
            ("epoch", "{app.gadget.unique:slug@<database>}g"),
            ("unique", "{app.gadget.unique:tenant,sku@<database>}e:<tenant>|<sku>"),
            ("epoch", "{app.gadget.unique:tenant,sku@<database>}g"),
            ("listing", "{app.gadget.listing:section_id@<database>}e:<section_id>"),
            ("epoch", "{app.gadget.listing:section_id@<database>}g"),
            ("listing", "{app.gadget.listing:double@<database>}e:<double>"),
            ("epoch", "{app.gadget.listing:double@<database>}g"),
            ("listing", "{app.gadget.listing:token,active@<database>}e:<token>|<active>"),
            ("epoch", "{app.gadget.listing:token,active@<database>}g"),
            ("derived", "{app.gadget.derived:dash:(section_id)@<database>}e:<section_id>"),
            ("epoch", "{app.gadget.derived:dash:(section_id)@<database>}g"),
            ("derived", "{app.gadget.derived:all@<database>}e:"),
            ("epoch", "{app.gadget.derived:all@<database>}g"),
        ]

"""Wrong declarations in ``CacheAside.keys``: each an error of ``manage.py check`` that says the nearest right word."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models import F, Q
from django.test.utils import isolate_apps

from django_cacheaside import Derived, Listing, Unique, checks
from django_cacheaside.models import CacheAsideMixin
from django_cacheaside.orm.options import checked_options
from django_cacheaside.orm.registry import Registration, registry
from tests.app.keyed import Gadget, Section, UncasedField, UncasedKey


class NamedSlugField(models.SlugField):  # type: ignore[type-arg]  # no class at run time takes any
    """As packages have them: says that its column is that of Django's own."""

    def get_internal_type(self) -> str:
        return "SlugField"


class FoundField(models.CharField):  # type: ignore[type-arg]
    """Its column's type is said by a backend of somebody's."""

    def get_internal_type(self) -> str:
        return "CITextField"


class ShoutedField(models.CharField):  # type: ignore[type-arg]
    """Read otherwise than it is written."""

    def select_format(self, compiler: Any, sql: str, params: Any) -> Any:
        return f"UPPER({sql})", params


class ShortKey(models.ForeignKey):  # type: ignore[type-arg]
    """Refers to a row by a column of another type."""

    def db_type(self, connection: Any) -> str:
        return "char(3)"


def messages_of(keys: Any, **options: Any) -> list[Any]:
    """What the checks say of a model with these keys."""
    with isolate_apps("tests.app"):

        class Base(models.Model):
            above = models.CharField(max_length=5, unique=True)

            class Meta:
                app_label = "app"

        class Declared(CacheAsideMixin, Base):
            slug = models.SlugField(unique=True)
            sku = models.CharField(max_length=5)
            tenant = models.IntegerField()
            section = models.ForeignKey(Section, models.CASCADE)
            rank = models.IntegerField()
            data = models.JSONField()
            rate = models.FloatField()
            note = models.TextField(db_collation="C")
            once = models.CharField(max_length=5)
            named = NamedSlugField(unique=True)
            uncased = UncasedField(max_length=5)
            found = FoundField(max_length=5)
            shouted = ShoutedField(max_length=5)
            uncased_key = models.ForeignKey(UncasedKey, models.CASCADE)
            short = ShortKey(Section, models.CASCADE, related_name="+")

            class Meta:
                app_label = "app"
                ordering = options.pop("ordering", [])
                unique_together = [("tenant", "rank")]
                constraints = [
                    models.UniqueConstraint(fields=["tenant", "sku"], name="sku"),
                    models.UniqueConstraint(fields=["once"], name="once", condition=Q(rank=1)),
                    models.UniqueConstraint(F("rank"), name="expression"),
                ]

    Declared.CacheAside = type("CacheAside", (), {"keys": keys, **options})
    registry.add(Declared)
    try:
        return [one for one in checks.check_models() if one.obj is Declared and one.id != "cacheaside.W020"]
    finally:
        registry.remove(Declared)


@pytest.mark.parametrize(
    ("key", "message", "hint"),
    [
        pytest.param(Unique("slugg"), "Unique('slugg') names 'slugg', no column", "Did you mean 'slug'?", id="unknown"),
        pytest.param(Unique(), "names no field", "Name the columns", id="none"),
        pytest.param(Unique("slug", "slug"), "names a field twice", "once", id="twice"),
        pytest.param(
            Unique("sku"), "is not unique", "Unique are: above; named; rank, tenant; sku, tenant; slug.", id="part"
        ),
        pytest.param(Unique("sku"), "is not unique", "Listing('sku')", id="say-listing"),
        pytest.param(Unique("once"), "is not unique", "", id="unique-under-a-condition"),
        pytest.param(Unique("rank"), "is not unique", "", id="unique-by-an-expression"),
        pytest.param(Unique("section__name"), "no column of the model", "", id="across-a-relation"),
        pytest.param(Listing("data"), "names 'data', a JSONField", "Parts of keys are", id="json"),
        pytest.param(Listing("rate"), "names 'rate', a FloatField", "decimal", id="float"),
        pytest.param(Listing("uncased"), "names 'uncased', a UncasedField", "Parts of keys are", id="column-type"),
        pytest.param(Listing("found"), "names 'found', a FoundField", "Parts of keys are", id="backend-s-type"),
        pytest.param(Listing("shouted"), "names 'shouted', a ShoutedField", "Parts of keys are", id="read-otherwise"),
        pytest.param(Listing("uncased_key"), "names 'uncased_key', a UncasedField", "", id="target-s-type"),
        pytest.param(Listing("short"), "names 'short'", "Parts of keys are", id="foreign-key-s-type"),
        pytest.param(Listing("tenant", order_by="rnak"), "'rnak' in order_by names no column", "'rank'", id="order"),
        pytest.param(Listing("tenant", order_by="sku"), "'sku' in order_by sorts text", "Sort by other", id="text"),
        pytest.param(Listing("tenant", order_by="section"), "another table; say 'section_id'", "", id="relation"),
        pytest.param(Listing("tenant", order_by="data"), "sorts by a JSONField", "", id="order-by-json"),
        pytest.param(Listing("tenant", order_by=5), "has order_by=5", "a field's name", id="order-by-number"),
        pytest.param(Listing("tenant", max_rows=0), "has max_rows=0", "1 to 10000", id="no-rows"),
        pytest.param(Listing("tenant", max_rows=True), "has max_rows=True", "", id="true-rows"),
        pytest.param(Listing("tenant", collation="de"), "has collation='de'", '"C"', id="collation"),
        pytest.param(Unique("slug", serve="no"), "has serve='no'", "True, or False to void", id="serve-text"),
        pytest.param(Listing("tenant", serve=0), "has serve=0", "True, or False", id="serve-number"),
        pytest.param(Derived("board", serve=None), "has serve=None", "True, or False", id="serve-none"),
        pytest.param(Derived("board:{tennant}"), "names 'tennant'", "'tenant'", id="derived-unknown"),
        pytest.param(Derived("board:{tenant!r}"), "with a format or an attribute", "in braces", id="derived-format"),
        pytest.param(Derived("board:{tenant.x}"), "with a format or an attribute", "", id="derived-attribute"),
        pytest.param(Derived("board:{"), "is no template", "{category_id}", id="derived-brace"),
        pytest.param(Derived(7), "is no template", "", id="derived-number"),
    ],
)
def test_is_an_error_that_says_what_to_do(key: Any, message: str, hint: str) -> None:
    (found,) = messages_of([key])
    assert found.id == "cacheaside.E022"
    assert message in found.msg
    assert found.msg.startswith("app.Declared.CacheAside: ")
    assert hint in found.hint


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([Unique("slug"), Unique("tenant", "sku"), Unique("rank", "tenant"), Unique("above")], id="unique"),
        pytest.param([Unique("slug", "sku")], id="more-than-unique"),
        pytest.param([Unique("named")], id="django-s-type"),
        pytest.param([Listing("section"), Listing("section_id", "tenant")], id="listing"),
        pytest.param([Listing("tenant", order_by=["-rank", "note", "pk"])], id="order"),
        pytest.param([Listing("tenant", order_by="sku", collation="C")], id="stated-collation"),
        pytest.param([Derived("board"), Derived("board:{tenant}:{section_id}")], id="derived"),
        pytest.param([Unique("section_id", "slug", serve=False)], id="not-served"),
        pytest.param((), id="empty"),
    ],
)
def test_right_ones_are_accepted(keys: Any) -> None:
    assert messages_of(keys) == []


def test_each_key_is_declared_once() -> None:
    (found,) = messages_of([Listing("section"), Listing("section_id", order_by="rank")])
    assert "declared twice" in found.msg


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert len(messages_of([Unique("x"), Listing("y"), Derived("{z}")])) == 3


def test_a_column_that_is_kept_out_of_the_cache_is_no_key() -> None:
    (found,) = messages_of([Unique("slug")], exclude=["slug"])
    assert "kept out of the cache" in found.msg


@pytest.mark.parametrize(("order_by", "said"), [("-rank", "'-rank' in order_by"), ((), "'rank' in Meta.ordering")])
def test_nor_does_a_listing_sort_by_it(order_by: Any, said: str) -> None:
    (found,) = messages_of([Listing("tenant", order_by=order_by)], exclude=["rank"], ordering=["rank"])
    assert said in found.msg
    assert "sorts by a column that exclude keeps out of the cache" in found.msg
    assert "Sort by other columns" in found.hint


def test_the_model_s_own_order_counts_where_a_listing_states_none() -> None:
    (found,) = messages_of([Listing("tenant")], ordering=["sku"])
    assert "'sku' in Meta.ordering, which holds where there is no order_by, sorts text" in found.msg
    assert messages_of([Listing("tenant", order_by="rank")], ordering=["sku"]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"keys": "slug"}, "it takes a list of Unique, Listing and Derived", id="text"),
        pytest.param({"keys": ["slug"]}, r"has 'slug' in it; say Unique\('slug'\)", id="list-of-texts"),
        pytest.param({"keys": [Unique]}, "say a Unique, a Listing or a Derived", id="class"),
        pytest.param({"key": []}, "Did you mean 'keys'?", id="misspelt"),
        pytest.param({"precise_updates": 1}, "must be True or False", id="precise-updates"),
    ],
)
def test_options_of_the_wrong_shape_are_refused_at_once(options: Any, message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        checked_options(Gadget, options, where="Gadget.CacheAside")


def test_a_wrong_declaration_is_not_served_without_the_check() -> None:
    registration = Registration(Gadget, checked_options(Gadget, {"keys": [Unique("sku")]}, where="here"))
    with pytest.raises(ImproperlyConfigured, match="is not unique"):
        _ = registration.declared

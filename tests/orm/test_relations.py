"""Foreign keys through the cache: what leads to a row of a cached model means what Django means."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, router, transaction
from django.db.models import Model, Prefetch, Q, QuerySet, prefetch_related_objects
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_cacheaside.orm.prefetch import prefetch
from tests.app.catalog import (
    Category,
    CategoryProxy,
    Crest,
    Genre,
    Ghost,
    Haunt,
    Kit,
    Manual,
    Purchase,
    Sign,
    Token,
    Ware,
)
from tests.orm.costs import Count
from tests.orm.world import Elsewhere, name, number
from tests.orm.world import values as columns

if django.VERSION >= (6, 1):
    from django.db.models import FETCH_PEERS, FETCH_RAISE

    from django_cacheaside.orm.fetch_mode import FETCH_CACHED_PEERS

pytestmark = pytest.mark.usefixtures("databases")

ABSENT = 2**40

by_peers = pytest.mark.skipif(django.VERSION < (6, 1), reason="fetch modes came with Django 6.1")


def again(instance: Any) -> Any:
    """The row as the database has it, with no relation loaded."""
    return QuerySet(type(instance)).using(instance._state.db).get(pk=instance.pk)


def all_of(model: Any, instances: list[Any]) -> list[Any]:
    db = instances[0]._state.db
    return list(QuerySet(model).using(db).filter(pk__in=[one.pk for one in instances]).order_by("pk"))


def known(instance: Model) -> dict[str, Any]:
    """The loaded relations, by their columns."""
    return {
        field: related if related is None else (type(related), columns(related))
        for field, related in instance._state.fields_cache.items()
    }


def crest(db: str) -> Crest:
    return Crest.objects.using(db).create(sign=Sign.objects.using(db).create(code=name()))


@pytest.fixture
def category(db_alias: str) -> Category:
    top = Category.objects.using(db_alias).create(name=name())
    return Category.objects.using(db_alias).create(name=name(), parent=top)


@pytest.fixture
def ware(db_alias: str, category: Category) -> Ware:
    return Ware.objects.using(db_alias).create(name=name(), category=category)


@pytest.fixture
def wares(db_alias: str) -> list[Ware]:
    """Six, in three categories of two parents; and one in none."""
    make = Category.objects.using(db_alias).create
    tops = [make(name=name()) for _ in range(2)]
    categories = [make(name=name(), parent=tops[at % 2]) for at in range(3)]
    wares = [Ware.objects.using(db_alias).create(category=categories[at % 3]) for at in range(6)]
    return all_of(Ware, [*wares, Ware.objects.using(db_alias).create()])


def warm(*rows: Any) -> None:
    for row in rows:
        type(row).cached.using(row._state.db).get(pk=row.pk)


class TestAccess:
    def test_is_a_hit(self, count_round_trips: Count, ware: Ware, category: Category, db_alias: str) -> None:
        warm(category)
        referring = again(ware)
        with count_round_trips() as costs:
            assert referring.category == category
            assert referring.category is referring.category
        assert costs.round_trips == 1
        assert costs.sql == []
        assert columns(referring.category) == columns(again(category))
        assert referring.category._state.db == db_alias

    def test_of_a_one_to_one_knows_its_way_back(self, count_round_trips: Count, ware: Ware, db_alias: str) -> None:
        warm(ware)
        manual = again(Manual.objects.using(db_alias).create(ware=ware))
        with count_round_trips() as costs:
            assert manual.ware.manual is manual
        assert costs.sql == []

    def test_of_null_asks_nobody(self, count_round_trips: Count, db_alias: str) -> None:
        ware = again(Ware.objects.using(db_alias).create())
        with count_round_trips() as costs:
            assert ware.category is None
        assert (costs.round_trips, costs.sql) == (0, [])

    def test_of_a_row_that_is_gone_raises(self, db_alias: str) -> None:
        """Twice: what is known to be missing is too."""
        purchase = Purchase.objects.using(db_alias).create(ware_id=ABSENT)
        for _ in range(2):
            with pytest.raises(Ware.DoesNotExist, match=r"^Ware matching query does not exist\.$"):
                _ = again(purchase).ware
        QuerySet(Purchase).using(db_alias).filter(pk=purchase.pk).delete()

    def test_sees_every_write(self, ware: Ware, category: Category, db_alias: str, elsewhere: Elsewhere) -> None:
        warm(category)
        rows = QuerySet(Category).using(db_alias).filter(pk=category.pk)
        for new in (name(), name()):
            elsewhere(rows.update, name=new)
            assert again(ware).category.name == new

    def test_in_a_transaction_sees_its_own_writes(self, ware: Ware, category: Category, db_alias: str) -> None:
        warm(category)
        with transaction.atomic(using=db_alias):
            QuerySet(Category).using(db_alias).filter(pk=category.pk).update(name="new")
            assert again(ware).category.name == "new"
            transaction.set_rollback(True, using=db_alias)
        assert again(ware).category.name == category.name

    def test_by_another_column_is_django_s(self, count_round_trips: Count, category: Category, db_alias: str) -> None:
        """``to_field``; also where its value is another row's primary key."""
        other = Category.objects.using(db_alias).create(code=str(category.pk))
        warm(category, other)
        ware = again(Ware.objects.using(db_alias).create(coded=other))
        with count_round_trips() as costs:
            assert ware.coded == other
        assert costs.selects == 1
        ware = again(ware)
        Ware.cached.prefetch([ware], "coded")
        assert ware.coded == other
        other.delete()

    def test_does_not_find_what_the_base_manager_hides(self, db_alias: str) -> None:
        ghost = Ghost.objects.using(db_alias).create(is_deleted=True)
        living = Ghost.objects.using(db_alias).create()
        haunts = [Haunt.objects.using(db_alias).create(ghost=one) for one in (ghost, living)]
        for _ in range(2):
            with pytest.raises(Ghost.DoesNotExist):
                _ = again(haunts[0]).ghost
            assert again(haunts[1]).ghost == living
            Haunt.cached.prefetch(found := all_of(Haunt, haunts), "ghost")
            prefetch_related_objects(expected := all_of(Haunt, haunts), "ghost")
            assert [known(one) for one in found] == [known(one) for one in expected]

    def test_of_a_plain_base_manager_stays_in_the_database(self, count_round_trips: Count, db_alias: str) -> None:
        mine = crest(db_alias)
        warm(mine)
        ware = again(Ware.objects.using(db_alias).create(crest=mine))
        with count_round_trips() as costs:
            assert ware.crest == mine
        assert (costs.round_trips, costs.selects) == (0, 1)

    def test_of_a_generic_one_is_a_hit(self, count_round_trips: Count, category: Category, db_alias: str) -> None:
        """What a ``GenericForeignKey`` calls, with the text that it keeps."""
        content_type = ContentType.objects.db_manager(db_alias).get_for_model(Category)
        warm(category)
        with count_round_trips() as costs:
            found = content_type.get_object_for_this_type(using=db_alias, pk=str(category.pk))
        assert found == category
        assert (costs.round_trips, costs.sql) == (1, [])


class TestDatabases:
    def test_a_row_leads_to_rows_of_its_own_database(self) -> None:
        """The same keys in both."""
        key = number()
        for alias in ("default", "sqlite"):
            Category.objects.using(alias).create(pk=key, name=alias)
            Ware.objects.using(alias).create(pk=key, category_id=key)
        for _ in range(2):
            for alias in ("default", "sqlite"):
                ware = Ware.objects.using(alias).get(pk=key)
                assert (ware.category.name, ware.category._state.db) == (alias, alias)
                hinted = Category.cached.db_manager(hints={"instance": ware})
                for rows in (hinted, hinted.all()):
                    assert rows.get(pk=key).name == alias
                    assert rows.in_bulk([key])[key].name == alias
                named = hinted.using("default")
                assert named.get(pk=key).name == "default"

    def test_prefetch_of_both_at_once(self) -> None:
        key = number()
        for alias in ("default", "sqlite"):
            Category.objects.using(alias).create(pk=key, name=alias)
            Ware.objects.using(alias).create(pk=key, category_id=key)
        wares = [Ware.objects.using(alias).get(pk=key) for alias in ("default", "sqlite", "default")]
        Ware.cached.prefetch(wares, "category")
        assert [ware.category.name for ware in wares] == ["default", "sqlite", "default"]

    def test_what_was_read_from_a_replica_leads_to_the_primary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A router says so; without one the replica is asked, and nothing of it is kept."""
        category = Category.objects.create(name=name())
        ware = Ware.objects.create(category=category)
        warm(category)
        mirrored = connections["default"].settings_dict | {"TEST": {"MIRROR": "default"}}
        monkeypatch.setitem(connections.databases, "replica", mirrored)
        replica = connections.create_connection("replica")
        connections["replica"] = replica
        try:
            referring = QuerySet(Ware).using("replica").get(pk=ware.pk)
            with CaptureQueriesContext(replica) as asked:
                assert referring.category._state.db == "replica"
            assert len(asked) == 1
            monkeypatch.setattr(router, "routers", [PrimaryAndReplica()])
            referring = QuerySet(Ware).using("replica").get(pk=ware.pk)
            with CaptureQueriesContext(replica) as asked, CaptureQueriesContext(connection) as asked_primary:
                assert referring.category._state.db == "default"
            assert (len(asked), len(asked_primary)) == (0, 0)
        finally:
            replica.close()
            del connections["replica"]


class PrimaryAndReplica:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, *rows: Any, **hints: Any) -> bool:
        return True


class TestConditions:
    """``get(Q(…))`` is served for one exact condition on the primary key, and for nothing else."""

    @pytest.mark.parametrize("condition", [{"pk": 1}, {"id": 1}, {"pk__exact": 1}], ids=str)
    def test_one_by_primary_key_is_served(
        self, count_round_trips: Count, category: Category, db_alias: str, condition: dict[str, int]
    ) -> None:
        warm(category)
        q = Q(**dict.fromkeys(condition, category.pk))
        with count_round_trips() as costs:
            for rows in (Category.cached.db_manager(db_alias), Category.cached.using(db_alias)):
                assert rows.get(q) == category
                assert rows.get(q & Q()) == category
        assert (costs.round_trips, costs.sql) == (4, [])

    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(ask, id=title)
            for title, ask in {
                "not": lambda pk: (~Q(pk=pk),),
                "two": lambda pk: (Q(pk=pk, name="no such"),),
                "either": lambda pk: (Q(pk=pk) | Q(pk=pk + 1),),
                "one-or-the-other": lambda pk: (Q(pk=pk) ^ Q(pk=pk),),
                "nested": lambda pk: (Q(~Q(pk=pk), name="no such"),),
                "nested-not": lambda pk: (Q(~Q(pk=pk)),),
                "nested-alone": lambda pk: (Q(Q(pk=pk)),),
                "empty": lambda pk: (Q(),),
                "two-arguments": lambda pk: (Q(pk=pk), Q(name="no such")),
                "in": lambda pk: (Q(pk__in=[pk]),),
                "other-field": lambda pk: (Q(name="no such"),),
                "text-field": lambda pk: (Q(code=pk),),
                "none": lambda pk: (Q(pk=None),),
                "null": lambda pk: (Q(pk__isnull=False),),
                "nonsense": lambda pk: (Q(nonsense=pk),),
                "no-condition": lambda pk: (pk,),
                "a-tuple": lambda pk: (("pk", pk),),
                "a-tuple-in-a-q": lambda pk: (Q(("pk", pk)),),
                "a-triple-in-a-q": lambda pk: (Q(("pk", pk, pk)),),
                "a-text-in-a-q": lambda pk: (Q("pk"),),
                "a-number-as-name": lambda pk: (Q((1, pk)),),
                "dangling": lambda pk: (Q(pk=ABSENT),),
            }.items()
        ],
    )
    def test_all_others_are_django_s(self, category: Category, db_alias: str, ask: Callable[[int], Any]) -> None:
        warm(category)
        for _ in range(2):
            mine, django = (
                outcome(rows.get, *ask(category.pk))
                for rows in (Category.cached.using(db_alias), QuerySet(Category).using(db_alias))
            )
            assert mine == django

    def test_with_a_keyword_beside_it(self, category: Category, db_alias: str) -> None:
        warm(category)
        for lookup in ({"name": "no such"}, {"pk": category.pk + 1}):
            with pytest.raises(Category.DoesNotExist):
                Category.cached.using(db_alias).get(Q(pk=category.pk), **lookup)

    def test_of_a_narrowed_queryset(self, category: Category, db_alias: str) -> None:
        warm(category)
        with pytest.raises(Category.DoesNotExist):
            Category.cached.using(db_alias).filter(name="no such").get(Q(pk=category.pk))
        assert category.parent is not None
        with pytest.raises(Category.DoesNotExist):
            category.category_set.get(Q(pk=category.pk))


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call returns, or the type and message of what it raises."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        kind = type(error)
        return kind, "how many" if kind.__name__ == "MultipleObjectsReturned" else str(error)


class TestBaseManager:
    """What else Django does by the base manager keeps its meaning."""

    @pytest.mark.parametrize("fields", [None, ["name"]])
    def test_refresh_asks_the_database(
        self, count_round_trips: Count, category: Category, db_alias: str, fields: Any
    ) -> None:
        warm(category)
        with count_round_trips() as costs:
            category.refresh_from_db(fields=fields)
        assert (costs.round_trips, costs.selects) == (0, 1)

    @pytest.mark.parametrize(("fields", "expected"), [(None, (1, 0)), (["name"], (0, 1))])
    def test_refresh_from_a_cached_queryset_is_served_whole(
        self, count_round_trips: Count, category: Category, db_alias: str, fields: Any, expected: tuple[int, int]
    ) -> None:
        """Who names it means it."""
        warm(category)
        with count_round_trips() as costs:
            category.refresh_from_db(fields=fields, from_queryset=Category.cached.using(db_alias))
        assert (costs.round_trips, costs.selects) == expected

    def test_a_deferred_column_is_asked_of_the_database(
        self, count_round_trips: Count, category: Category, db_alias: str
    ) -> None:
        warm(category)
        (bare,) = QuerySet(Category).using(db_alias).filter(pk=category.pk).only("pk")
        with count_round_trips() as costs:
            assert bare.name == category.name
        assert (costs.round_trips, costs.selects) == (0, 1)

    def test_save_update_and_delete(self, category: Category, ware: Ware, db_alias: str) -> None:
        warm(category, ware)
        category.name = "new"
        category.save()
        assert again(ware).category.name == "new"
        Category.objects.using(db_alias).bulk_update([category], ["name"])
        category.delete()  # and its ware with it
        assert outcome(Ware.cached.using(db_alias).get, pk=ware.pk)[0] is Ware.DoesNotExist

    def test_a_known_missing_row_is_inserted(self, db_alias: str) -> None:
        """``save()`` of a given key asks by UPDATE, not the cache."""
        key = number()
        assert outcome(Category.cached.using(db_alias).get, pk=key)[0] is Category.DoesNotExist
        Category(pk=key, name="new").save(using=db_alias)
        assert Category.cached.using(db_alias).get(pk=key).name == "new"

    def test_validation_asks_the_database(self, count_round_trips: Count, ware: Ware, db_alias: str) -> None:
        warm(ware.category)
        with count_round_trips() as costs:
            Ware._meta.get_field("category").validate(ware.category_id, ware)
        assert costs.round_trips == 0


def prefetched(instances: list[Any], *lookups: Any) -> tuple[list[Any], list[Any]]:
    """By us and by Django, each on rows of its own."""
    model = type(instances[0])
    mine, django = all_of(model, instances), all_of(model, instances)
    assert model.cached.prefetch(mine, *lookups) is None
    prefetch_related_objects(django, *lookups)
    return mine, django


class TestPrefetch:
    def test_is_a_level_per_round_trip(self, count_round_trips: Count, wares: list[Ware], db_alias: str) -> None:
        """Cold: look, lease and fill for each level, one SELECT for each. Warm: one MGET for each."""
        for round_trips, selects in ((6, 2), (2, 0)):
            found = all_of(Ware, wares)
            with count_round_trips() as costs:
                Ware.cached.prefetch(found, "category__parent")
                parents = [ware.category.parent for ware in found if ware.category]
            assert (costs.round_trips, costs.selects) == (round_trips, selects)
            assert len(parents) == 6

    @pytest.mark.parametrize(
        "lookups",
        [
            ("category",),
            ("category__parent",),
            ("category__parent__parent",),
            ("category", "second_category__parent", "category__parent"),
            ("coded__parent",),
            ("genre", "crest__sign", "category"),
            ("similar__category__parent",),
            ("category__ware_set__category",),
            ("root__parent",),
            ("manual__ware__category",),
        ],
        ids=lambda lookups: "+".join(lookups),
    )
    def test_finds_what_django_finds(self, db_alias: str, wares: list[Ware], lookups: tuple[str, ...]) -> None:
        first, second = wares[0].category, wares[1].category
        for ware, other in zip(wares, reversed(wares), strict=True):
            ware.second_category = second
            ware.coded = first if ware.pk % 2 else None
            ware.genre = Genre.objects.using(db_alias).create()
            ware.crest = crest(db_alias)
            ware.save()
            ware.similar.add(other)
        Manual.objects.using(db_alias).create(ware=wares[0])
        if lookups == ("manual__ware__category",):
            wares = wares[:1]
        for _ in range(2):
            mine, django = prefetched(wares, *lookups)
            for one, other in zip(mine, django, strict=True):
                assert flat(one, lookups) == flat(other, lookups)

    def test_leaves_nothing_to_ask(self, count_round_trips: Count, wares: list[Ware], db_alias: str) -> None:
        found = all_of(Ware, wares)
        Ware.cached.prefetch(found, "category__parent")
        with count_round_trips() as costs:
            for ware in found:
                assert ware.category is None or ware.category.parent is not None
        assert (costs.round_trips, costs.sql) == (0, [])

    def test_rows_of_one_row_share_it(self, wares: list[Ware]) -> None:
        mine, django = prefetched(wares, "category__parent")
        for rows in (mine, django):
            assert rows[0].category is rows[3].category
            assert rows[0].category is not rows[1].category
            assert rows[0].category.parent is rows[2].category.parent

    def test_two_relations_to_one_model_are_one_batch(
        self, count_round_trips: Count, wares: list[Ware], db_alias: str
    ) -> None:
        for ware in wares:
            ware.second_category = wares[0].category
            ware.save()
        found = all_of(Ware, wares)
        with count_round_trips() as costs:
            Ware.cached.prefetch(found, "category__parent", "second_category__parent", "category")
        assert (costs.round_trips, costs.selects) == (6, 2)
        assert [ware.second_category.name for ware in found] == [wares[0].category.name] * 7  # type: ignore[union-attr]
        assert [ware.second_category.parent for ware in found] == [wares[0].category.parent] * 7  # type: ignore[union-attr]

    def test_what_is_loaded_is_followed(self, count_round_trips: Count, wares: list[Ware], db_alias: str) -> None:
        """Also what isn't the database's: as with Django."""
        Ware.cached.prefetch(wares, "category__parent")
        (found,) = all_of(Ware, wares[:1])
        mine = Category(name="of mine", parent_id=wares[0].category.parent_id)  # type: ignore[union-attr]
        mine._state.db = db_alias
        found._state.fields_cache["category"] = mine
        with count_round_trips() as costs:
            Ware.cached.prefetch([found], "category__parent")
        assert found.category is mine
        assert mine.parent == wares[0].category.parent  # type: ignore[union-attr]
        assert (costs.round_trips, costs.sql) == (1, [])

    def test_of_nulls_asks_nobody(self, count_round_trips: Count, db_alias: str) -> None:
        ware = again(Ware.objects.using(db_alias).create())
        with count_round_trips() as costs:
            Ware.cached.prefetch([ware], "category__parent")
            assert ware.category is None
        assert (costs.round_trips, costs.sql) == (0, [])

    @pytest.mark.parametrize("rows", [[], (), iter(())], ids=["list", "tuple", "iterator"])
    def test_of_nothing_asks_nobody(self, count_round_trips: Count, rows: Any, db_alias: str) -> None:
        with count_round_trips() as costs:
            Ware.cached.prefetch(rows, "category", "nonsense")
        assert (costs.round_trips, costs.sql) == (0, [])

    def test_of_a_queryset_fills_its_rows(self, wares: list[Ware], db_alias: str) -> None:
        rows = Ware.objects.using(db_alias).filter(pk__in=[ware.pk for ware in wares])
        Ware.cached.prefetch(rows, "category")
        assert all("category" in ware._state.fields_cache for ware in rows)

    def test_a_row_that_is_gone_is_none(self, db_alias: str) -> None:
        purchase = Purchase.objects.using(db_alias).create(ware_id=ABSENT)
        for _ in range(2):
            mine, django = again(purchase), again(purchase)
            prefetch_one(mine)
            prefetch_related_objects([django], "ware")
            assert known(mine) == known(django) == {"ware": None}
            assert outcome(getattr, mine, "ware") == outcome(getattr, django, "ware")
        purchase.delete()

    def test_one_to_one_knows_its_way_back(self, ware: Ware, db_alias: str) -> None:
        manual = again(Manual.objects.using(db_alias).create(ware=ware))
        fill([manual], "ware__category", model=Manual)
        assert manual.ware.manual is manual

    def test_sees_every_write(self, wares: list[Ware], db_alias: str, elsewhere: Elsewhere) -> None:
        Ware.cached.prefetch(wares, "category__parent")
        top = wares[0].category.parent  # type: ignore[union-attr]
        elsewhere(QuerySet(Category).using(db_alias).filter(pk=top.pk).update, name="new")  # type: ignore[union-attr]
        found = all_of(Ware, wares)
        Ware.cached.prefetch(found, "category__parent")
        assert found[0].category.parent.name == "new"

    def test_in_a_transaction_sees_its_own_writes(self, wares: list[Ware], db_alias: str) -> None:
        Ware.cached.prefetch(wares, "category")
        with transaction.atomic(using=db_alias):
            rows = QuerySet(Category).using(db_alias).filter(pk=wares[0].category_id)
            rows.update(name="new")
            found = all_of(Ware, wares)
            Ware.cached.prefetch(found, "category__parent")
            assert [ware.category.name == "new" for ware in found[:4]] == [True, False, False, True]
            transaction.set_rollback(True, using=db_alias)
        found = all_of(Ware, wares)
        Ware.cached.prefetch(found, "category")
        assert found[0].category.name != "new"

    def test_switched_off_is_django_s(self, count_round_trips: Count, wares: list[Ware], db_alias: str) -> None:
        with override_settings(CACHEASIDE={"ENABLED": False}), count_round_trips() as costs:
            Ware.cached.prefetch(wares := all_of(Ware, wares), "category__parent")
        assert costs.selects == 3  # the wares themselves
        assert wares[0].category.parent is not None  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "lookup", ["nonsense", "category__nonsense", "name", "pk", "category_id", "", "category__"]
    )
    def test_of_a_lookup_that_leads_nowhere_raises(self, wares: list[Ware], lookup: str) -> None:
        (found,) = all_of(Ware, wares[:1])
        kinds = [
            outcome(prefetch, lookup)[0]
            for prefetch in (lambda one: Ware.cached.prefetch([found], one), django_s(found))
        ]
        assert kinds[0] is kinds[1]
        assert kinds[0] in (AttributeError, ValueError)

    def test_of_another_model_s_instances_raises(self, category: Category) -> None:
        with pytest.raises(TypeError, match=r"instances of its model, not for Category"):
            Ware.cached.prefetch([category], "parent")

    def test_a_prefetch_object_is_django_s(self, wares: list[Ware], db_alias: str) -> None:
        rows = QuerySet(Category).using(db_alias).filter(name="no such")
        (mine,), (django,) = prefetched(wares[:1], Prefetch("category", queryset=rows))
        assert mine.category is django.category is None
        (mine,), (django,) = prefetched(wares[:1], Prefetch("category", to_attr="chosen"), "category")
        assert mine.chosen == django.chosen == mine.category

    def test_every_kind_of_key(self, db_alias: str, count_round_trips: Count) -> None:
        targets = {
            "sign": Sign.objects.using(db_alias).create(code="Ünï🙂 {a} %s " + name()),
            "token": Token.objects.using(db_alias).create(),
            "kit": Kit.objects.using(db_alias).create(),
            "proxy": CategoryProxy.objects.using(db_alias).create(),
            "crest": crest(db_alias),
        }
        haunt = Haunt.objects.using(db_alias).create(**targets)
        for selects in (5, 0):
            found = again(haunt)
            with count_round_trips() as costs:
                Haunt.cached.prefetch([found], *targets)
            assert costs.selects == selects
            for field, target in targets.items():
                assert type(getattr(found, field)) is type(target)
                assert columns(getattr(found, field)) == columns(again(target))

    def test_of_a_key_spelt_as_a_text(self, ware: Ware, category: Category) -> None:
        """As a form leaves it on an instance that isn't saved."""
        ware = Ware(category_id=str(category.pk))
        ware._state.db = category._state.db
        Ware.cached.prefetch([ware], "category")
        assert ware.category == category

    def test_awaited(self, wares: list[Ware]) -> None:
        found = all_of(Ware, wares)
        async_to_sync(Ware.cached.aprefetch)(found, "category__parent")
        assert found[0]._state.fields_cache["category"]._state.fields_cache["parent"] is not None


def fill(rows: list[Any], lookup: str, *, model: type[Model]) -> None:
    """As a cached manager of a plain model would."""
    prefetch(model, rows, lookup)


def prefetch_one(purchase: Purchase) -> None:
    fill([purchase], "ware", model=Purchase)


def django_s(found: Any) -> Callable[[str], None]:
    return lambda lookup: prefetch_related_objects([found], lookup)


def flat(row: Any, lookups: tuple[str, ...]) -> Any:
    """What each lookup leads to, without asking anybody."""
    found = []
    for lookup in lookups:
        rows = [row]
        for part in lookup.split("__"):
            following: list[Any] = []
            for one in rows:
                prefetched = getattr(one, "_prefetched_objects_cache", {})
                if part in prefetched:
                    following += list(prefetched[part])
                elif part == "root":
                    following.append(one.root)
                else:
                    following.append(one._state.fields_cache[part])
            rows = [one for one in following if one is not None]
            found.append([(type(one), columns(one)) for one in rows])
    return found


@by_peers
class TestFetchMode:
    def rows(self, wares: list[Ware], mode: Any) -> list[Any]:
        db = wares[0]._state.db
        return list(QuerySet(Ware).using(db).filter(pk__in=[ware.pk for ware in wares]).order_by("pk").fetch_mode(mode))

    def test_all_peers_are_one_batch(self, count_round_trips: Count, wares: list[Ware], db_alias: str) -> None:
        """And so on: the categories lead on by the same mode."""
        for round_trips, selects in ((6, 2), (2, 0)):
            found = self.rows(wares, FETCH_CACHED_PEERS)
            with count_round_trips() as costs:
                names = [ware.category and ware.category.parent.name for ware in found]
            assert (costs.round_trips, costs.selects) == (round_trips, selects)
            assert names == [ware.category and ware.category.parent.name for ware in wares]  # type: ignore[union-attr]
            assert found[0].category is found[3].category

    def test_one_alone(self, count_round_trips: Count, wares: list[Ware], db_alias: str) -> None:
        (found,) = self.rows(wares[:1], FETCH_CACHED_PEERS)
        warm(wares[0].category)
        with count_round_trips() as costs:
            assert found.category == wares[0].category
        assert (costs.round_trips, costs.sql) == (1, [])

    def test_of_a_row_that_is_gone(self, db_alias: str) -> None:
        """As ``FETCH_PEERS``: alone, and among others."""

        purchases = [Purchase.objects.using(db_alias).create(ware_id=ABSENT + at) for at in range(2)]
        for number_of in (1, 2):
            rows = QuerySet(Purchase).using(db_alias).filter(pk__in=[one.pk for one in purchases[:number_of]])
            mine, django = (list(rows.fetch_mode(mode)) for mode in (FETCH_CACHED_PEERS, FETCH_PEERS))
            assert outcome(getattr, mine[0], "ware") == outcome(getattr, django[0], "ware")
        QuerySet(Purchase).using(db_alias).filter(pk__in=[one.pk for one in purchases]).delete()

    def test_other_relations_and_columns_are_fetched_by_peers(
        self, count_round_trips: Count, wares: list[Ware], db_alias: str
    ) -> None:
        for ware in wares:
            ware.genre = Genre.objects.using(db_alias).create()
            ware.coded = Category.objects.using(db_alias).create()
            ware.save()
        rows = QuerySet(Ware).using(db_alias).filter(pk__in=[ware.pk for ware in wares]).defer("name")
        found = list(rows.fetch_mode(FETCH_CACHED_PEERS))
        for attribute in ("genre", "coded", "name"):
            with count_round_trips() as costs:
                assert all(getattr(ware, attribute) is not None for ware in found)
            assert costs.selects == 1

    def test_can_be_pickled(self, wares: list[Ware]) -> None:

        assert pickle.loads(pickle.dumps(FETCH_CACHED_PEERS)) is FETCH_CACHED_PEERS
        (found,) = self.rows(wares[:1], FETCH_CACHED_PEERS)
        assert pickle.loads(pickle.dumps(found)).category == wares[0].category

    def test_of_what_is_served(self, count_round_trips: Count, wares: list[Ware], db_alias: str) -> None:
        """``cached`` passes each mode on, and stays whole."""

        warm(*wares)
        with count_round_trips() as costs:
            one = Ware.cached.using(db_alias).fetch_mode(FETCH_RAISE).get(pk=wares[0].pk)
            peers = Ware.cached.using(db_alias).fetch_mode(FETCH_PEERS).in_bulk([ware.pk for ware in wares])
        assert costs.sql == []
        assert one._state.fetch_mode is FETCH_RAISE
        with pytest.raises(Exception, match="blocked"):
            _ = one.category
        with count_round_trips() as costs:
            categories = [ware.category for ware in peers.values()]
        assert costs.selects == 1
        assert categories == [ware.category for ware in wares]

    def test_is_passed_on_by_access(self, ware: Ware, category: Category, db_alias: str) -> None:

        warm(category)
        (found,) = QuerySet(Ware).using(db_alias).filter(pk=ware.pk)
        found._state.fetch_mode = FETCH_RAISE
        with pytest.raises(Exception, match="blocked"):
            _ = found.category

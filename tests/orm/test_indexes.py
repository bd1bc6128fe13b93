"""Rows by unique keys and listings: what is served, what it costs, and that every write voids the new values' keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Concat

from django_cacheaside.failpoints import armed
from django_cacheaside.orm.databases import identity
from tests.app.keyed import Gadget, Section
from tests.orm.costs import Count
from tests.orm.world import MODEL, Elsewhere, Server

_numbers = count(1)
UNIQUE_SLUG, UNIQUE_SKU = "unique:slug", "unique:tenant,sku"
BY_SECTION, BY_DOUBLE, BY_TOKEN = "listing:section_id", "listing:double", "listing:token,active"
DASH, ALL = "derived:dash:(section_id)", "derived:all"


def text() -> str:
    return f"t{next(_numbers)}"


def gadget(db: str, **values: Any) -> Gadget:
    values = {"sku": text(), "slug": text(), "rank": next(_numbers) + 1000, **values}
    made = QuerySet(Gadget).using(db).create(**values)
    return QuerySet(Gadget).using(db).get(pk=made.pk)


def section(db: str) -> Section:
    return QuerySet(Section).using(db).create()


def cached(db: str) -> Any:
    return Gadget.cached.using(db)


@pytest.fixture
def row(db_alias: str) -> Gadget:
    return gadget(db_alias, section=section(db_alias))


class TestUnique:
    def test_a_miss_is_three_round_trips_and_one_select(
        self, count_round_trips: Count, db_alias: str, row: Gadget
    ) -> None:
        """The rows come with the entry's load: they are returned, and not filled under nobody's lease."""
        with count_round_trips() as costs:
            assert cached(db_alias).get(slug=row.slug) == row
        assert (costs.round_trips, len(costs.sql)) == (3, 1)

    def test_a_hit_is_two(self, count_round_trips: Count, db_alias: str, row: Gadget) -> None:
        for _ in range(2):
            cached(db_alias).get(slug=row.slug)
        with count_round_trips() as costs:
            found = cached(db_alias).get(slug=row.slug)
        assert (costs.round_trips, costs.commands, costs.sql) == (2, {"mget": 2}, [])
        assert (found, found.title, found.section_id) == (row, "old", row.section_id)

    def test_an_entry_without_its_row_is_four(self, count_round_trips: Count, db_alias: str, row: Gadget) -> None:
        cached(db_alias).get(slug=row.slug)
        with count_round_trips() as costs:
            cached(db_alias).get(slug=row.slug)
        assert (costs.round_trips, len(costs.sql)) == (4, 1)

    def test_an_entry_that_is_wrong_is_six_at_most(self, count_round_trips: Count, db_alias: str, row: Gadget) -> None:
        """Its row is gone and unknown: look, look, lease, load and fill; then the same for the entry."""
        slug = row.slug
        cached(db_alias).get(slug=slug)
        connections[db_alias].ensure_connection()
        Gadget.objects.using(db_alias).filter(pk=row.pk)._raw_delete(db_alias)
        heir = gadget_unseen(db_alias, slug=slug)
        with count_round_trips() as costs:
            assert cached(db_alias).get(slug=slug).pk == heir
        assert (costs.round_trips, len(costs.sql)) == (6, 2)
        for _ in range(2):
            cached(db_alias).get(slug=slug)
        with count_round_trips() as costs:
            assert cached(db_alias).get(slug=slug).pk == heir
        assert costs.round_trips == 2

    def test_a_row_that_is_missing_is_known_to_be(self, count_round_trips: Count, db_alias: str) -> None:
        with pytest.raises(Gadget.DoesNotExist):
            cached(db_alias).get(slug="none such")
        with count_round_trips() as costs, pytest.raises(Gadget.DoesNotExist):
            cached(db_alias).get(slug="none such")
        assert (costs.round_trips, costs.sql) == (1, [])

    def test_of_several_columns(self, count_round_trips: Count, db_alias: str, row: Gadget) -> None:
        for _ in range(2):
            assert cached(db_alias).get(tenant=1, sku=row.sku) == row
        with count_round_trips() as costs:
            assert cached(db_alias).get(sku=row.sku, tenant=1) == row
            assert cached(db_alias).get(tenant="1", sku=row.sku) == row
        assert (costs.round_trips, costs.sql) == (4, [])
        with pytest.raises(Gadget.DoesNotExist):
            cached(db_alias).get(tenant=2, sku=row.sku)

    def test_texts_are_told_apart_wherever_they_are_parted(self, db_alias: str) -> None:
        """``1|2`` and ``3`` are not ``1`` and ``2|3``."""
        values = [
            ("a|b", 1),
            ("b", 1),
            ("|", 1),
            ("", 1),
            ("#null", 1),
            ("a" * 300, 1) if db_alias == "sqlite" else ("é|", 1),
        ]
        rows = {}
        for slug, tenant in values:
            if QuerySet(Gadget).using(db_alias).filter(slug=slug).exists():
                continue
            rows[slug] = gadget(db_alias, slug=slug, tenant=tenant)
        for slug, one in rows.items():
            for _ in range(3):
                assert cached(db_alias).get(slug=slug) == one

    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(lambda qs, row: qs.get(slug__exact=row.slug), id="exact"),
            pytest.param(lambda qs, row: qs.get(Q(slug=row.slug)), id="q"),
            pytest.param(lambda qs, row: qs.filter(slug=row.slug).get(), id="filter-get"),
            pytest.param(lambda qs, row: qs.filter(slug=row.slug).first(), id="filter-first"),
            pytest.param(lambda qs, row: qs.all().get(slug=row.slug), id="all"),
            pytest.param(lambda qs, row: next(iter(qs.filter(slug=row.slug))), id="list"),
            pytest.param(lambda qs, row: qs.filter(slug=row.slug)[0], id="item"),
            pytest.param(lambda qs, row: qs.get(slug=row.slug, title="old"), id="and-a-column"),
            pytest.param(lambda qs, row: qs.filter(tenant=1).get(sku=row.sku), id="two-filters"),
            pytest.param(lambda qs, row: qs.get(Q(tenant=1) & Q(sku=row.sku)), id="q-and"),
            pytest.param(lambda qs, row: qs.get(slug=row.slug, section=row.section), id="and-an-instance"),
            pytest.param(lambda qs, row: qs.in_bulk([row.slug], field_name="slug")[row.slug], id="in-bulk"),
            pytest.param(lambda qs, row: qs.get(pk=row.pk, slug=row.slug), id="with-the-pk"),
        ],
    )
    def test_is_found_however_it_is_said(
        self, ask: Callable[[Any, Gadget], Gadget], count_round_trips: Count, db_alias: str, row: Gadget
    ) -> None:
        for _ in range(3):
            ask(cached(db_alias), row)
        with count_round_trips() as costs:
            found = ask(cached(db_alias), row)
        assert (found, type(found)) == (row, Gadget)
        assert costs.sql == []

    def test_what_else_is_asked_is_compared_on_the_row(self, db_alias: str, row: Gadget) -> None:
        for _ in range(2):
            with pytest.raises(Gadget.DoesNotExist):
                cached(db_alias).get(slug=row.slug, title="another")
            assert list(cached(db_alias).filter(slug=row.slug, active=False)) == []

    def test_null_is_no_key(self, count_round_trips: Count, db_alias: str) -> None:
        """Many rows may have it, and none equals it."""
        rows = [gadget(db_alias, slug=None, section=section(db_alias)) for _ in range(2)]
        with count_round_trips() as costs:
            assert cached(db_alias).filter(slug=None, pk__in=[one.pk for one in rows]).count() == 2
            with pytest.raises(Gadget.MultipleObjectsReturned):
                cached(db_alias).get(slug=None, active=True)
        assert costs.round_trips == 0
        assert len(costs.sql) == 2

    def test_in_bulk_of_many_is_two_round_trips(self, count_round_trips: Count, db_alias: str) -> None:
        rows = {one.slug: one for one in [gadget(db_alias) for _ in range(30)]}
        for _ in range(2):
            assert cached(db_alias).in_bulk([*rows, "none"], field_name="slug") == rows
        with count_round_trips() as costs:
            found = cached(db_alias).in_bulk([*rows, "none"], field_name="slug")
        assert (costs.round_trips, costs.sql) == (2, [])
        assert found == rows


def gadget_unseen(db: str, **values: Any) -> int:
    """A row that the net does not see: from a connection without it."""
    connection = connections[db]
    wrappers, connection.execute_wrappers = connection.execute_wrappers, []
    try:
        made = QuerySet(Gadget).using(db).bulk_create([Gadget(sku=text(), **values)])
    finally:
        connection.execute_wrappers = wrappers
    return made[0].pk


class TestListing:
    def test_a_hit_is_two_round_trips(self, count_round_trips: Count, db_alias: str) -> None:
        place = section(db_alias)
        rows = [gadget(db_alias, section=place, rank=rank) for rank in (3, 1, 2)]
        with count_round_trips() as costs:
            list(cached(db_alias).filter(section=place))
        assert (costs.round_trips, len(costs.sql)) == (3, 1)
        with count_round_trips() as costs:
            list(cached(db_alias).filter(section=place))
        assert (costs.round_trips, len(costs.sql)) == (4, 1)
        with count_round_trips() as costs:
            found = list(cached(db_alias).filter(section=place))
        assert (costs.round_trips, costs.commands, costs.sql) == (2, {"mget": 2}, [])
        assert found == [rows[1], rows[2], rows[0]]

    def test_one_without_rows_is_known(self, count_round_trips: Count, db_alias: str) -> None:
        place = section(db_alias)
        assert list(cached(db_alias).filter(section=place)) == []
        with count_round_trips() as costs:
            assert list(cached(db_alias).filter(section=place)) == []
        assert (costs.round_trips, costs.sql) == (1, [])

    def test_one_of_too_many_rows_goes_to_the_database_and_is_remembered(
        self, count_round_trips: Count, db_alias: str
    ) -> None:
        place = section(db_alias)
        rows = {gadget(db_alias, section=place, rank=rank).pk for rank in range(6)}
        assert {one.pk for one in cached(db_alias).filter(section=place)} == rows
        with count_round_trips() as costs:
            found = [one.rank for one in cached(db_alias).filter(section=place)]
        assert (costs.round_trips, len(costs.sql)) == (1, 1)
        assert found == sorted(found)

    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(lambda qs, place: qs.filter(section=place), id="instance"),
            pytest.param(lambda qs, place: qs.filter(section=place.pk), id="pk"),
            pytest.param(lambda qs, place: qs.filter(section=str(place.pk)), id="text"),
            pytest.param(lambda qs, place: qs.filter(section_id=place.pk), id="attname"),
            pytest.param(lambda qs, place: qs.filter(section__pk=place.pk), id="pk-of-relation"),
            pytest.param(lambda qs, place: qs.filter(section__id__exact=place.pk), id="exact"),
            pytest.param(lambda qs, place: qs.filter(Q(section=place)), id="q"),
            pytest.param(lambda qs, place: qs.filter(section=place).filter(active=True), id="and-a-column"),
            pytest.param(lambda qs, place: qs.filter(section=place).order_by("rank"), id="ordered-alike"),
            pytest.param(lambda qs, place: qs.filter(section=place).order_by("-rank").reverse(), id="reversed"),
            pytest.param(lambda qs, place: qs.filter(section=place)[:9], id="slice"),
            pytest.param(lambda qs, place: place.gadget_set(manager="cached").all(), id="reverse-relation"),
        ],
    )
    def test_is_found_however_it_is_said(
        self, ask: Callable[[Any, Section], Any], count_round_trips: Count, db_alias: str
    ) -> None:
        place = section(db_alias)
        rows = [gadget(db_alias, section=place, rank=rank) for rank in (2, 1)]
        for _ in range(3):
            list(ask(cached(db_alias), place))
        with count_round_trips() as costs:
            found = list(ask(cached(db_alias), place))
        assert found == [rows[1], rows[0]]
        assert costs.sql == []

    @pytest.mark.parametrize(
        ("ask", "expected"),
        [
            pytest.param(lambda qs: qs.first().rank, 1, id="first"),
            pytest.param(lambda qs: qs.last().rank, 3, id="last"),
            pytest.param(lambda qs: qs[1].rank, 2, id="item"),
            pytest.param(lambda qs: [one.rank for one in qs[1:]], [2, 3], id="slice"),
            pytest.param(lambda qs: [one.rank for one in qs.order_by("-rank")[:2]], [3, 2], id="another-order"),
            pytest.param(lambda qs: [one.rank for one in qs.order_by("pk")], [3, 1, 2], id="by-pk"),
            pytest.param(lambda qs: len(qs), 3, id="len"),
            pytest.param(lambda qs: bool(qs), True, id="bool"),
        ],
    )
    def test_is_ordered_and_sliced_as_django_does(
        self, ask: Callable[[Any], Any], expected: Any, count_round_trips: Count, db_alias: str
    ) -> None:
        place = section(db_alias)
        for rank in (3, 1, 2):
            gadget(db_alias, section=place, rank=rank)
        for _ in range(2):
            list(cached(db_alias).filter(section=place))
        with count_round_trips() as costs:
            assert ask(cached(db_alias).filter(section=place)) == expected
        assert costs.sql == []
        assert ask(QuerySet(Gadget).using(db_alias).filter(section=place).order_by("rank")) == expected

    def test_nulls_come_where_the_database_puts_them(self, db_alias: str) -> None:
        place = section(db_alias)
        for rank in (3, None, 1):
            gadget(db_alias, section=place, rank=rank)
        for order in ("rank", "-rank"):
            expected = [one.rank for one in QuerySet(Gadget).using(db_alias).filter(section=place).order_by(order)]
            for _ in range(3):
                assert [one.rank for one in cached(db_alias).filter(section=place).order_by(order)] == expected

    def test_rows_without_the_value_are_a_listing_too(self, count_round_trips: Count, db_alias: str) -> None:
        Gadget.objects.using(db_alias).filter(section=None).delete()
        loose = gadget(db_alias, section=None)
        for ask in (Q(section=None), Q(section__isnull=True)):
            for _ in range(3):
                assert list(cached(db_alias).filter(ask)) == [loose]
        with count_round_trips() as costs:
            list(cached(db_alias).filter(section=None))
        assert costs.sql == []

    def test_what_is_not_declared_is_the_database_s(self, count_round_trips: Count, db_alias: str) -> None:
        place = section(db_alias)
        one = gadget(db_alias, section=place, title="rare")
        for ask in (
            Q(title="rare"),
            Q(section__name="section", pk=one.pk),
            Q(slug=one.slug) | Q(slug="x"),
            ~Q(slug="x") & Q(pk=one.pk),
            Q(slug__iexact=one.slug),
            Q(slug=F("slug"), pk=one.pk),
        ):
            with count_round_trips() as costs:
                assert one in list(cached(db_alias).filter(ask))
            assert (costs.round_trips, len(costs.sql)) == (0, 1)

    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(lambda qs: qs.values("slug"), id="values"),
            pytest.param(lambda qs: qs.only("slug"), id="only"),
            pytest.param(lambda qs: qs.select_related("section"), id="select-related"),
            pytest.param(lambda qs: qs.distinct(), id="distinct"),
            pytest.param(lambda qs: qs.annotate(one=Value(1)), id="annotate"),
            pytest.param(lambda qs: qs.extra(where=["1=1"]), id="extra"),
            pytest.param(lambda qs: qs.exclude(title="x"), id="exclude"),
            pytest.param(lambda qs: qs.order_by("title"), id="order-by-text"),
            pytest.param(lambda qs: qs.order_by("?"), id="order-by-chance"),
            pytest.param(lambda qs: qs.order_by("section__name"), id="order-by-another-table"),
            pytest.param(lambda qs: qs.filter(title__in=["old"]), id="in"),
        ],
    )
    def test_nor_is_more_than_whole_rows(
        self, ask: Callable[[Any], Any], count_round_trips: Count, db_alias: str
    ) -> None:
        place = section(db_alias)
        gadget(db_alias, section=place)
        for _ in range(2):
            assert len(list(cached(db_alias).filter(section=place))) == 1
        with count_round_trips() as costs:
            assert len(list(ask(cached(db_alias).filter(section=place)))) == 1
        assert (costs.round_trips, len(costs.sql)) == (0, 1)

    def test_select_for_update_is_the_database_s(self, count_round_trips: Count, db_alias: str, row: Gadget) -> None:
        cached(db_alias).get(slug=row.slug)
        with transaction.atomic(using=db_alias), count_round_trips() as costs:
            cached(db_alias).select_for_update().get(slug=row.slug)
        assert (costs.round_trips, len(costs.sql)) == (0, 1)

    def test_prefetch_related_follows(self, count_round_trips: Count, db_alias: str) -> None:
        place = section(db_alias)
        gadget(db_alias, section=place)
        for _ in range(3):
            found = list(cached(db_alias).filter(section=place).prefetch_related("section"))
        with count_round_trips() as costs:
            assert found[0].section == place
        assert costs.sql == []

    def test_the_related_object_is_known(self, count_round_trips: Count, db_alias: str) -> None:
        """As with any related manager: no query for ``gadget.section``."""
        place = section(db_alias)
        gadget(db_alias, section=place)
        for _ in range(3):
            found = list(place.gadget_set(manager="cached").all())
        assert found[0].section is place


def objects(db: str) -> Any:
    return QuerySet(Gadget).using(db)


def saved(row: Gadget, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


def execute(db: str, sql: str, *params: Any) -> None:
    with connections[db].cursor() as cursor:
        cursor.execute(sql, params)


FORMS: dict[str, Callable[[Gadget, Gadget, Section, Section, str], Any]] = {
    "create": lambda row, other, old, new, db: objects(db).create(sku="c" + row.sku, slug="c" + row.slug, section=new),
    "create-without-values": lambda row, other, old, new, db: objects(db).create(sku="d" + row.sku),
    "bulk-create": lambda row, other, old, new, db: objects(db).bulk_create(
        [Gadget(sku=f"{n}{row.sku}", slug=f"{n}{row.slug}", section=new, rank=n) for n in range(3)]
    ),
    "bulk-create-ignore": lambda row, other, old, new, db: objects(db).bulk_create(
        [Gadget(sku=f"i{row.sku}", slug=row.slug), Gadget(sku=f"j{row.sku}", slug=f"j{row.slug}", section=new)],
        ignore_conflicts=True,
    ),
    "bulk-create-update": lambda row, other, old, new, db: objects(db).bulk_create(
        [Gadget(sku=f"i{row.sku}", slug=row.slug, section=new), Gadget(sku=f"j{row.sku}", slug=f"j{row.slug}")],
        update_conflicts=True,
        unique_fields=["slug"],
        update_fields=["section", "sku"],
    ),
    "bulk-create-update-part": lambda row, other, old, new, db: upsert_part(row, db),
    "save-all": lambda row, other, old, new, db: saved(row, slug="s" + row.slug, section=new, rank=7, title="new"),
    "save-swapped": lambda row, other, old, new, db: swap(row, other, db),
    "save-update-fields": lambda row, other, old, new, db: save_part(row, db),
    "save-deferred": lambda row, other, old, new, db: save_deferred(row, db),
    "save-f": lambda row, other, old, new, db: saved(row, rank=F("rank") + 1),
    "save-concat": lambda row, other, old, new, db: saved(row, slug=Concat("slug", Value("x"))),
    "save-null": lambda row, other, old, new, db: saved(row, slug=None, section=None, rank=None),
    "save-same": lambda row, other, old, new, db: row.save(),
    "update-pk": lambda row, other, old, new, db: (
        objects(db).filter(pk=row.pk).update(slug="u" + row.slug, section=new)
    ),
    "update-pk-part": lambda row, other, old, new, db: objects(db).filter(pk=row.pk).update(sku="u" + row.sku),
    "update-pk-f": lambda row, other, old, new, db: (
        objects(db).filter(pk__in=[row.pk, other.pk]).update(rank=F("rank") + 5)
    ),
    "update-pk-other-column": lambda row, other, old, new, db: objects(db).filter(pk=row.pk).update(title="new"),
    "update-pk-null": lambda row, other, old, new, db: objects(db).filter(pk=row.pk).update(section=None),
    "update-condition": lambda row, other, old, new, db: objects(db).filter(section=old).update(section=new),
    "update-condition-f": lambda row, other, old, new, db: objects(db).filter(section=old).update(rank=F("rank") + 1),
    "update-condition-part": lambda row, other, old, new, db: objects(db).filter(section=old).update(tenant=2),
    "update-join": lambda row, other, old, new, db: (
        objects(db).filter(section__name="section", slug=row.slug).update(token="j")
    ),
    "bulk-update": lambda row, other, old, new, db: bulk_update(row, other, new, db),
    "update-case": lambda row, other, old, new, db: (
        objects(db)
        .filter(pk__in=[row.pk, other.pk])
        .update(slug=Case(When(pk=row.pk, then=Value("k" + row.slug)), default=F("slug")))
    ),
    "delete": lambda row, other, old, new, db: row.delete(),
    "delete-queryset": lambda row, other, old, new, db: objects(db).filter(section=old).delete(),
    "delete-raw": lambda row, other, old, new, db: objects(db).filter(pk=row.pk)._raw_delete(db),
    "set-null": lambda row, other, old, new, db: old.delete(),
    "reverse-add": lambda row, other, old, new, db: new.gadget_set.add(row),
    "reverse-add-each": lambda row, other, old, new, db: new.gadget_set.add(row, bulk=False),
    "reverse-set": lambda row, other, old, new, db: new.gadget_set.set([row, other]),
    "reverse-clear": lambda row, other, old, new, db: old.gadget_set.clear(),
    "update-or-create": lambda row, other, old, new, db: objects(db).update_or_create(
        slug=row.slug, defaults={"sku": "w" + row.sku, "section": new}
    ),
    "get-or-create": lambda row, other, old, new, db: objects(db).get_or_create(
        slug="g" + row.slug, defaults={"sku": "g" + row.sku, "section": new}
    ),
    "raw-insert": lambda row, other, old, new, db: execute(
        db,
        "INSERT INTO app_gadget (tenant, sku, slug, section_id, title, active) VALUES (3, %s, %s, %s, 'raw', %s)",
        "r" + row.sku,
        "r" + row.slug,
        new.pk,
        True,
    ),
    "raw-insert-select": lambda row, other, old, new, db: execute(
        db,
        "INSERT INTO app_gadget (tenant, sku, slug, section_id, title, active) "
        "SELECT 3, sku, slug || 'r', %s, 'raw', active FROM app_gadget WHERE id = %s",
        new.pk,
        row.pk,
    ),
    "raw-update": lambda row, other, old, new, db: execute(
        db, "UPDATE app_gadget SET slug = %s, section_id = NULL WHERE id = %s", "r" + row.slug, row.pk
    ),
    "raw-update-literal": lambda row, other, old, new, db: execute(
        db, "UPDATE app_gadget SET token = 'x' WHERE id = %s", row.pk
    ),
    "raw-update-with": lambda row, other, old, new, db: execute(
        db,
        "WITH w AS (SELECT %s AS id) UPDATE app_gadget SET section_id = %s WHERE id IN (SELECT id FROM w)",
        row.pk,
        new.pk,
    ),
    "executemany": lambda row, other, old, new, db: executemany(
        db, "UPDATE app_gadget SET section_id = %s WHERE id = %s", [(new.pk, row.pk), (new.pk, other.pk)]
    ),
    "executemany-insert": lambda row, other, old, new, db: executemany(
        db,
        "INSERT INTO app_gadget (tenant, sku, slug, title, active) VALUES (4, %s, %s, 'm', %s)",
        [(f"{n}m{row.sku}", f"{n}m{row.slug}", True) for n in range(2)],
    ),
}


def swap(row: Gadget, other: Gadget, db: str) -> None:
    """Two rows exchange their unique values; in between one has none."""
    mine, theirs = row.slug, other.slug
    with transaction.atomic(using=db):
        for one, slug in ((row, None), (other, mine), (row, theirs)):
            one.slug = slug
            one.save(update_fields=["slug"])


def upsert_part(row: Gadget, db: str) -> None:
    """The row that a conflict leaves has one column of the new values and one of its own."""
    objects(db).filter(pk=row.pk).update(active=False)
    new = Gadget(sku="i" + row.sku, slug=row.slug, token="m", active=True)
    objects(db).bulk_create([new], update_conflicts=True, unique_fields=["slug"], update_fields=["token"])


def save_part(row: Gadget, db: str) -> None:
    """An instance that has grown old saves a part of a compound key."""
    objects(db).filter(pk=row.pk).update(tenant=9)
    row.sku = "p" + row.sku
    row.save(update_fields=["sku"])


def save_deferred(row: Gadget, db: str) -> None:
    part = objects(db).only("sku").get(pk=row.pk)
    part.sku = "q" + row.sku
    part.save()


def bulk_update(row: Gadget, other: Gadget, new: Section, db: str) -> None:
    row.slug, other.slug = "b" + row.slug, "b" + other.slug
    row.section, other.section = new, None
    objects(db).bulk_update([row, other], ["slug", "section"])


def executemany(db: str, sql: str, params: list[Any]) -> None:
    with connections[db].cursor() as cursor:
        cursor.executemany(sql, params)


class Probe:
    """Two rows, two sections, and every question whose answer a form changes.

    Which these are is told by the form itself, executed once and rolled back: the values that rows have before it and
    after it.
    """

    def __init__(self, db: str, form: str) -> None:
        self.db = db
        self.form = form
        objects(db).all()._raw_delete(db)
        self.old, self.new = section(db), section(db)
        self.row = gadget(db, section=self.old, rank=10_000 + next(_numbers))
        self.other = gadget(db, section=self.old, rank=10_000 + next(_numbers))
        questions = self._values()
        with transaction.atomic(using=db):
            self.act()
            questions |= self._values()
            transaction.set_rollback(True, using=db)
        self.questions = [dict(question) for question in sorted(questions, key=repr)]

    def act(self) -> None:
        """Write, with instances of this moment."""
        rows = [QuerySet(type(one)).using(self.db).get(pk=one.pk) for one in (self.row, self.other, self.old, self.new)]
        FORMS[self.form](*rows, self.db)

    def _values(self) -> set[tuple[tuple[str, Any], ...]]:
        lookups = [("slug",), ("tenant", "sku"), ("section_id",), ("double",), ("token", "active")]
        return {
            tuple(zip(names, values, strict=True))
            for names in lookups
            for values in objects(self.db).values_list(*names)
            if names != ("slug",) or values != (None,)
        }

    def in_database(self) -> list[Any]:
        """The answers, in the order of the questions: by one SELECT of all rows, which are few."""
        rows = list(objects(self.db))
        return [
            _told(one for one in rows if all(getattr(one, name) == value for name, value in question.items()))
            for question in self.questions
        ]

    def in_cache(self) -> list[Any]:
        """What the cache answers, each question for itself."""
        rows = Gadget.cached.using(self.db)
        return [_told(rows.filter(**question)) for question in self.questions]


def _told(rows: Iterable[Gadget]) -> list[Any]:
    return sorted((one.pk, one.slug, one.title, one.rank, one.section_id) for one in rows)


class TestWrites:
    """Each form, with warm and negative entries before it: after it another thread reads what the database has."""

    @pytest.fixture(params=FORMS)
    def probe(self, request: pytest.FixtureRequest, db_alias: str, server: Server, elsewhere: Elsewhere) -> Probe:
        probe = Probe(db_alias, request.param)
        server.empty()
        for _ in range(2):
            elsewhere(probe.in_cache)
        return probe

    def assert_fresh(self, probe: Probe, elsewhere: Elsewhere) -> None:
        for _ in range(2):
            assert elsewhere(probe.in_cache) == probe.in_database()

    def test_in_autocommit(self, probe: Probe, elsewhere: Elsewhere) -> None:
        before = probe.in_database()
        probe.act()
        assert (probe.in_database() == before) is (probe.form in UNCHANGED)
        self.assert_fresh(probe, elsewhere)

    def test_in_a_transaction(self, probe: Probe, elsewhere: Elsewhere) -> None:
        with transaction.atomic(using=probe.db):
            probe.act()
            assert probe.in_cache() == probe.in_database()  # its own writes
        self.assert_fresh(probe, elsewhere)

    def test_rolled_back(self, probe: Probe, server: Server, elsewhere: Elsewhere) -> None:
        """Nothing is dropped, and nobody has seen anything of it."""
        held = dict(server.values())
        with transaction.atomic(using=probe.db):
            probe.act()
            transaction.set_rollback(True, using=probe.db)
        assert dict(server.values()) == held
        self.assert_fresh(probe, elsewhere)

    @pytest.mark.parametrize("form", ["update-pk", "delete-raw"])
    def test_behind_a_raw_begin(self, form: str, db_alias: str, elsewhere: Elsewhere) -> None:
        """Django, which does not know of that transaction, refuses the FOR UPDATE by which old values are read."""
        probe = Probe(db_alias, form)
        for _ in range(2):
            elsewhere(probe.in_cache)
        execute(db_alias, "BEGIN")
        try:
            probe.act()
        finally:
            execute(db_alias, "COMMIT")
        self.assert_fresh(probe, elsewhere)


UNCHANGED = {"save-same"}


ROW = ""
"""In place of an index: the row itself."""

EVERY_INDEX = (ROW, UNIQUE_SLUG, UNIQUE_SKU, BY_SECTION, BY_DOUBLE, BY_TOKEN, DASH, ALL)
KEYS: dict[str, Callable[[Probe, str, bool], dict[str, Any]]] = {
    "update-pk-other-column": lambda probe, db, is_atomic: {
        ROW: [probe.row.pk],
        DASH: [probe.old.pk],
        ALL: [""],
    },
    "update-pk": lambda probe, db, is_atomic: {
        ROW: [probe.row.pk],
        UNIQUE_SLUG: ["u" + probe.row.slug],
        BY_SECTION: [probe.new.pk],
        DASH: MODEL if db == "sqlite" else [probe.old.pk, probe.new.pk],
        ALL: [""],
    },
    "update-pk-null": lambda probe, db, is_atomic: {
        ROW: [probe.row.pk],
        BY_SECTION: ["#null"],
        DASH: MODEL if db == "sqlite" else [probe.old.pk, "#null"],
        ALL: [""],
    },
    "update-pk-part": lambda probe, db, is_atomic: {
        ROW: [probe.row.pk],
        UNIQUE_SKU: [f"1|u{probe.row.sku}"],
        DASH: [probe.old.pk],
        ALL: [""],
    },
    "update-pk-f": lambda probe, db, is_atomic: {
        ROW: [probe.row.pk, probe.other.pk],
        BY_DOUBLE: [2 * probe.row.rank + 10, 2 * probe.other.rank + 10],
        DASH: [probe.old.pk],
        ALL: [""],
    },
    "update-condition": lambda probe, db, is_atomic: {
        ROW: MODEL,
        BY_SECTION: [probe.new.pk],
        DASH: MODEL,
        ALL: [""],
    },
    "update-condition-part": lambda probe, db, is_atomic: {ROW: MODEL, UNIQUE_SKU: MODEL, DASH: MODEL, ALL: [""]},
    "update-condition-f": lambda probe, db, is_atomic: {ROW: MODEL, BY_DOUBLE: MODEL, DASH: MODEL, ALL: [""]},
    "delete-raw": lambda probe, db, is_atomic: {
        ROW: [probe.row.pk],
        DASH: MODEL if db == "sqlite" else [probe.old.pk],
        ALL: [""],
    },
    "raw-update-literal": lambda probe, db, is_atomic: {
        ROW: [probe.row.pk],
        BY_TOKEN: ["x|1"],
        DASH: [probe.old.pk],
        ALL: [""],
    },
    "raw-update-with": lambda probe, db, is_atomic: dict.fromkeys(EVERY_INDEX, MODEL),
}


class TestKeys:
    """Which keys a write voids, exactly: no more than it must, where its statement tells."""

    @pytest.fixture
    def told(self, db_alias: str, server: Server) -> Callable[[Callable[[], Any]], dict[str, set[str]]]:
        """The intents that stand at the COMMIT of a write, by index; rows are under ``ROW``."""

        def listen(act: Callable[[], Any]) -> dict[str, set[str]]:
            server.empty()
            intents: set[tuple[str, str, str]] = set()
            with armed("after-intent", lambda: intents.update(server.intents())):
                act()
            found: dict[str, set[str]] = {}
            for label, database, ident in intents:
                assert database == identity(connections[db_alias])
                assert label.startswith("app.gadget")
                found.setdefault(label.removeprefix("app.gadget").removeprefix("."), set()).add(ident)
            return found

        return listen

    @pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
    @pytest.mark.parametrize("form", [*KEYS])
    def test_are_those_of_the_new_values(self, form: str, told: Any, db_alias: str, is_atomic: bool) -> None:
        probe = Probe(db_alias, form)

        def act() -> None:
            if is_atomic:
                with transaction.atomic(using=db_alias):
                    probe.act()
            else:
                probe.act()

        expected = {
            index: {MODEL} if keys == MODEL else {str(key) for key in keys}
            for index, keys in KEYS[form](probe, db_alias, is_atomic).items()
        }
        assert told(act) == expected

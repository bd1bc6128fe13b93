"""Values spelt in several ways, sorted in several orders, held in several tables: as the database answers."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import connections, transaction
from django.db.models import F, JSONField, QuerySet, Value, prefetch_related_objects
from django.shortcuts import get_object_or_404
from django.template import Context, Template
from django.test import override_settings

from django_cacheaside.exceptions import UndeclaredLookupError, UndeclaredLookupWarning
from django_cacheaside.failpoints import armed
from django_cacheaside.orm import runtime
from tests.app.catalog import Category, Ware
from tests.app.keyed import LastFirst, Loose, Nulls, Precise, Quiet, Ranked, Ranking, Sealed, Sorted, Spelt, Vast
from tests.orm.costs import Count
from tests.orm.world import Elsewhere, Server, ident

UTC = dt.timezone.utc
_numbers = count(1)


@contextmanager
def in_chicago(connection: Any) -> Iterator[None]:
    """A database with a ``TIME_ZONE`` of its own."""

    def set_zone(zone: str | None) -> None:
        connection.close()
        connection.settings_dict["TIME_ZONE"] = zone
        for name in ("timezone", "timezone_name"):
            vars(connection).pop(name, None)
        runtime.reset()

    before = connection.settings_dict["TIME_ZONE"]
    set_zone("America/Chicago")
    try:
        yield
    finally:
        set_zone(before)


def spelt(db: str, **values: Any) -> Spelt:
    number = next(_numbers)
    values = {
        "amount": Decimal(number),
        "moment": dt.datetime(2000, 1, 1, tzinfo=UTC) + dt.timedelta(hours=number),
        "day": dt.date(2000, 1, 1) + dt.timedelta(days=number),
        "mark": uuid.UUID(int=number),
        "text": f"text {number}",
        **values,
    }
    return QuerySet(Spelt).using(db).create(**values)


EAST = dt.timezone(dt.timedelta(hours=5, minutes=30))
SPELLINGS = [
    pytest.param("amount", Decimal("7001.5"), ["7001.50", Decimal("7001.500"), 7001.5, "7001.5"], id="decimal"),
    pytest.param("amount", Decimal("-0.00"), [0, "0", Decimal("0E+3"), -0.0], id="zero"),
    pytest.param(
        "moment",
        dt.datetime(2020, 5, 1, 12, tzinfo=UTC),
        [dt.datetime(2020, 5, 1, 17, 30, tzinfo=EAST), "2020-05-01T12:00:00Z", "2020-05-01 14:00+02:00"],
        id="moment",
    ),
    pytest.param(
        "moment", dt.datetime(2020, 5, 2, 12, 0, 0, 5, tzinfo=UTC), ["2020-05-02T12:00:00.000005Z"], id="microseconds"
    ),
    pytest.param("day", dt.date(2021, 3, 4), ["2021-03-04", dt.datetime(2021, 3, 4, 18, tzinfo=UTC)], id="day"),
    pytest.param(
        "mark",
        uuid.UUID("12345678-1234-5678-1234-567812345678"),
        ["12345678123456781234567812345678", "{12345678-1234-5678-1234-567812345678}"],
        id="uuid",
    ),
    pytest.param("text", "Straße İ ẞ", ["Straße İ ẞ"], id="text"),
    pytest.param("text", "", [""], id="empty-text"),
    pytest.param("text", "12", [12], id="text-from-number"),
]


class TestSpellings:
    """One value, however it is spelt: what the cache answers is what the database answers, before and after a write."""

    @pytest.mark.parametrize(("name", "value", "spellings"), SPELLINGS)
    def test_find_the_row(self, name: str, value: Any, spellings: list[Any], db_alias: str) -> None:
        QuerySet(Spelt).using(db_alias).filter(**{name: value}).delete()
        for one in [value, *spellings]:
            for _ in range(2):
                with pytest.raises(Spelt.DoesNotExist):
                    Spelt.cached.using(db_alias).get(**{name: one})
        row = spelt(db_alias, **{name: value})
        for _ in range(3):
            for one in [value, *spellings]:
                assert Spelt.cached.using(db_alias).get(**{name: one}) == row
        QuerySet(Spelt).using(db_alias).filter(pk=row.pk).delete()
        for one in [value, *spellings]:
            assert not Spelt.cached.using(db_alias).filter(**{name: one})

    @pytest.mark.parametrize(("name", "value", "spellings"), SPELLINGS)
    def test_are_voided_by_an_update(self, name: str, value: Any, spellings: list[Any], db_alias: str) -> None:
        QuerySet(Spelt).using(db_alias).filter(**{name: value}).delete()
        row = spelt(db_alias)
        for one in [value, *spellings]:
            assert not Spelt.cached.using(db_alias).filter(**{name: one})
        QuerySet(Spelt).using(db_alias).filter(pk=row.pk).update(**{name: spellings[-1]})
        for one in [value, *spellings]:
            assert [found.pk for found in Spelt.cached.using(db_alias).filter(**{name: one})] == [row.pk]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            pytest.param("amount", "7002.001", id="more-places"),
            pytest.param("amount", Decimal("1E+9"), id="too-many-digits"),
            pytest.param("text", "text 1 ", id="space-at-the-end"),
            pytest.param("mark", uuid.UUID(int=0), id="uuid-of-nothing"),
        ],
    )
    def test_of_what_is_not_there(self, name: str, value: Any, db_alias: str) -> None:
        spelt(db_alias)
        expected = list(QuerySet(Spelt).using(db_alias).filter(**{name: value}))
        for _ in range(2):
            assert list(Spelt.cached.using(db_alias).filter(**{name: value})) == expected == []

    def test_a_parameter_of_another_type_drops_the_whole_key(self, db_alias: str) -> None:
        """What the database makes of a float is its own affair."""
        row = spelt(db_alias)
        value = Decimal(8_000_000 + next(_numbers)) + Decimal("0.25")
        assert not Spelt.cached.using(db_alias).filter(amount=value)
        with connections[db_alias].cursor() as cursor:
            cursor.execute("UPDATE app_spelt SET amount = %s WHERE id = %s", [float(value), row.pk])
        assert [one.pk for one in Spelt.cached.using(db_alias).filter(amount=value)] == [row.pk]

    @pytest.mark.parametrize("digits", ["0.1", "99999999999999.99", "1234567890123456.78", "12345678901234567.89"])
    def test_of_more_digits_than_a_float_has(self, digits: str, db_alias: str) -> None:
        """SQLite finds the row by what it keeps of them, and gives another value back."""
        value = Decimal(digits)
        row = QuerySet(Vast).using(db_alias).create(amount=value)
        assert [Vast.cached.using(db_alias).get(amount=value) for _ in range(3)] == [row] * 3

    def test_a_moment_in_words_is_what_the_session_says(self, databases: None) -> None:
        """PostgreSQL reads a text by its session's time zone, ``TIME_ZONE`` of the database, which no text names."""
        connection = connections["default"]
        with in_chicago(connection):
            row, moment = spelt("default"), dt.datetime(2031, 5, 1, 17, tzinfo=UTC)
            for _ in range(2):
                assert not Spelt.cached.filter(moment=moment)
            with connection.cursor() as cursor:
                cursor.execute("UPDATE app_spelt SET moment = %s WHERE id = %s", ["2031-05-01 12:00:00", row.pk])
            assert list(Spelt.cached.filter(moment=moment)) == list(QuerySet(Spelt).filter(moment=moment)) == [row]

    def test_texts_that_differ_by_case_are_two(self, db_alias: str) -> None:
        rows = {text: spelt(db_alias, text=text) for text in ("Lamp", "lamp", "LAMP", "lamp ")}
        for _ in range(3):
            for text, row in rows.items():
                assert Spelt.cached.using(db_alias).get(text=text) == row

    def test_what_the_field_refuses_is_refused(self, db_alias: str) -> None:
        with pytest.raises(ValidationError):
            Spelt.cached.using(db_alias).get(mark="no uuid")
        with pytest.raises(ValidationError):
            Spelt.cached.using(db_alias).get(amount="much")


@pytest.fixture
def loose(db_alias: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The table of texts that are compared without case. The PostgreSQL of the tests has neither ICU nor citext."""
    connection = connections[db_alias]
    with monkeypatch.context() as patch:
        for name in ("name", "size"):
            patch.setattr(Loose._meta.get_field(name), "db_collation", "NOCASE")
        runtime.reset()
        with connection.schema_editor() as editor:
            editor.delete_model(Loose)
            editor.create_model(Loose)
        yield db_alias
    runtime.reset()
    with connection.schema_editor() as editor:
        editor.delete_model(Loose)
        editor.create_model(Loose)


@pytest.mark.parametrize("db_alias", ["sqlite"], indirect=True)
class TestTextsComparedWithoutCase:
    def test_a_row_is_served_under_its_own_spelling_alone(self, count_round_trips: Count, loose: str) -> None:
        row = QuerySet(Loose).using(loose).create(name="Lamp")
        for _ in range(3):
            assert Loose.cached.using(loose).get(name="Lamp") == row
            assert Loose.cached.using(loose).get(name="LAMP") == row
        with count_round_trips() as costs:
            Loose.cached.using(loose).get(name="Lamp")
        assert (costs.round_trips, costs.sql) == (2, [])
        with count_round_trips() as costs:
            Loose.cached.using(loose).get(name="lamp")
        assert len(costs.sql) > 0

    def test_one_that_is_missing_is_not_known_to_be(self, loose: str) -> None:
        """A row of another spelling would have to void it."""
        for _ in range(2):
            with pytest.raises(Loose.DoesNotExist):
                Loose.cached.using(loose).get(name="desk")
        row = QuerySet(Loose).using(loose).create(name="DESK")
        assert Loose.cached.using(loose).get(name="desk") == row

    def test_listings_are_the_database_s(self, loose: str) -> None:
        """They have rows of other spellings, which no write under this one would void."""
        rows = [
            QuerySet(Loose).using(loose).create(name=f"{number}", size=size)
            for number, size in enumerate(("big", "BIG", "Big", "small"))
        ]
        for _ in range(3):
            for spelling in ("big", "BIG"):
                assert sorted(Loose.cached.using(loose).filter(size=spelling), key=lambda one: one.pk) == rows[:3]
        QuerySet(Loose).using(loose).filter(pk=rows[3].pk).update(size="BIG")
        assert len(Loose.cached.using(loose).filter(size="big")) == 4

    def test_in_bulk_finds_what_django_finds(self, loose: str) -> None:
        for name in ("one", "Two"):
            QuerySet(Loose).using(loose).create(name=name)
        for _ in range(3):
            found = Loose.cached.using(loose).in_bulk(["one", "TWO"], field_name="name")
            assert found == QuerySet(Loose).using(loose).in_bulk(["one", "TWO"], field_name="name")


class TestNulls:
    @pytest.mark.parametrize(
        "further",
        [{"data__isnull": True}, {"nick__isnull": True}, {"rank__isnull": True}, {"rank": None}],
        ids=str,
    )
    @pytest.mark.parametrize(
        "values", [{"data": Value(None, JSONField())}, {"nick": ""}, {"nick": "n", "data": {}, "rank": 1}], ids=str
    )
    def test_are_what_the_database_says(self, values: dict[str, Any], further: dict[str, Any], db_alias: str) -> None:
        """JSON's null is no NULL; and what is read as an empty text may be one."""
        row = QuerySet(Nulls).using(db_alias).create(**values)
        expected = list(QuerySet(Nulls).using(db_alias).filter(pk=row.pk, **further))
        for _ in range(2):
            assert list(Nulls.cached.using(db_alias).filter(pk=row.pk, **further)) == expected

    def test_of_plain_columns_are_told_from_the_row(self, count_round_trips: Count, db_alias: str) -> None:
        row = QuerySet(Nulls).using(db_alias).create()
        for _ in range(2):
            assert Nulls.cached.using(db_alias).get(pk=row.pk) == row
        with count_round_trips() as costs:
            assert list(Nulls.cached.using(db_alias).filter(pk=row.pk, rank=None)) == [row]
        assert (costs.round_trips, costs.sql) == (1, [])


class TestOrder:
    @pytest.fixture
    def group(self, db_alias: str) -> int:
        group = next(_numbers)
        words = ["b", "B", "a", "ä", "é", "Z", "_", "aa", " a", "日", "🙂"]
        numbers = [3, None, 1, 1, 2, None, 5, 2, 9, 3, 0]
        shares = [0.5, None, -1.0, 2.25, 0.0, -0.0, 1e300, None, 5e-324, 3.0, 3.5]
        for word, number, share in zip(words, numbers, shares, strict=True):
            QuerySet(Sorted).using(db_alias).create(group=group, word=word, number=number, share=share)
        return group

    def test_a_stated_collation_sorts_in_the_database_too(self, db_alias: str, group: int) -> None:
        """So that rows come alike whoever answers."""
        rows = Sorted.cached.using(db_alias).filter(group=group)
        first = [one.word for one in rows.all()]
        for _ in range(2):
            assert [one.word for one in rows.all()] == first
        with transaction.atomic(using=db_alias):
            Sorted.objects.using(db_alias).filter(group=group).update(number=F("number"))
            assert [one.word for one in rows.all()] == first
        assert first == sorted(first)
        assert rows.all()[0].word == first[0]
        assert rows.ordered

    @pytest.mark.parametrize(
        "order",
        [
            ["number", "pk"],
            ["-number", "-pk"],
            ["share", "pk"],
            ["-share", "id"],
            ["number", "-share", "pk"],
            [F("number").desc(), "pk"],
            [F("number"), "pk"],
            ["-group", "pk"],
        ],
        ids=str,
    )
    def test_is_the_database_s(self, order: list[Any], count_round_trips: Count, db_alias: str, group: int) -> None:
        expected = [one.pk for one in QuerySet(Sorted).using(db_alias).filter(group=group).order_by(*order)]
        rows = Sorted.cached.using(db_alias).filter(group=group).order_by(*order)
        for _ in range(2):
            assert [one.pk for one in rows.all()] == expected
        with count_round_trips() as costs:
            assert [one.pk for one in rows.all()] == expected
            assert [one.pk for one in rows.reverse()] == expected[::-1]
            assert [one.pk for one in rows[2:5]] == expected[2:5]
        assert costs.sql == []

    @pytest.mark.parametrize("order", ["word", F("number").asc(nulls_first=True), "?", F("number") + 1], ids=str)
    def test_what_python_can_t_sort_goes_to_the_database(
        self, order: Any, count_round_trips: Count, db_alias: str, group: int
    ) -> None:
        list(Sorted.cached.using(db_alias).filter(group=group))
        with count_round_trips() as costs:
            assert len(Sorted.cached.using(db_alias).filter(group=group).order_by(order)) == 11
        assert len(costs.sql) == 1

    @pytest.mark.parametrize(
        ("ask", "selects"),
        [
            pytest.param(lambda rows, group, pks: rows.filter(pk__in=pks).order_by("secret"), 1, id="pks"),
            pytest.param(lambda rows, group, pks: rows.filter(group=group).order_by("-secret"), 1, id="listing"),
            pytest.param(lambda rows, group, pks: rows.filter(pk__in=pks), 1, id="the-model's-own"),
            pytest.param(lambda rows, group, pks: [rows.filter(group=group).latest("secret")], 1, id="latest"),
            pytest.param(lambda rows, group, pks: rows.filter(group=group).order_by("pk"), 0, id="another-column"),
            pytest.param(lambda rows, group, pks: rows.filter(pk=pks[0]).order_by("secret"), 0, id="one-row"),
        ],
    )
    def test_by_a_column_that_is_kept_out_of_the_cache_is_the_database_s(
        self, ask: Any, selects: int, count_round_trips: Count, db_alias: str
    ) -> None:
        group = next(_numbers)
        pks = [QuerySet(Sealed).using(db_alias).create(group=group, secret=-n).pk for n in range(3)]
        expected = [one.pk for one in ask(QuerySet(Sealed).using(db_alias), group, pks)]
        for _ in range(2):
            assert [one.pk for one in ask(Sealed.cached.using(db_alias), group, pks)] == expected
        with count_round_trips() as costs:
            assert [one.pk for one in ask(Sealed.cached.using(db_alias), group, pks)] == expected
        assert len(costs.sql) == selects

    def test_of_a_proxy_is_its_own(self, count_round_trips: Count, db_alias: str) -> None:
        number = next(_numbers)
        made = [Precise.objects.using(db_alias).create(name="n", number=number) for _ in range(3)]
        for _ in range(2):
            assert list(Precise.cached.using(db_alias).filter(number=number)) == made
        with count_round_trips() as costs:
            found = list(LastFirst.cached.using(db_alias).filter(number=number))
        assert [one.pk for one in found] == [one.pk for one in reversed(made)]
        assert costs.sql == []


class TestInheritance:
    """A parent's columns are written through the parent, the child, and SQL to either table."""

    def make(self, db: str) -> Ranking:
        return Ranking.objects.using(db).create(code=f"code {next(_numbers)}", level=1, team=next(_numbers))

    def test_a_key_of_the_parent_s_column(self, count_round_trips: Count, db_alias: str) -> None:
        row = self.make(db_alias)
        for _ in range(2):
            assert Ranking.cached.using(db_alias).get(code=row.code) == row
        with count_round_trips() as costs:
            assert Ranking.cached.using(db_alias).get(code=row.code).team == row.team
        assert (costs.round_trips, costs.sql) == (2, [])
        for change in ("by the parent", "by the child", "by a save"):
            code = f"{row.code} {change}"
            assert not Ranking.cached.using(db_alias).filter(code=code)
            if change == "by the parent":
                QuerySet(Ranked).using(db_alias).filter(pk=row.pk).update(code=code)
            elif change == "by the child":
                Ranking.objects.using(db_alias).filter(pk=row.pk).update(code=code)
            else:
                row.code = code
                row.save()
            assert Ranking.cached.using(db_alias).get(code=code).pk == row.pk

    def test_a_key_of_the_child_s_column(self, db_alias: str) -> None:
        row, team = self.make(db_alias), next(_numbers)
        assert not Ranking.cached.using(db_alias).filter(team=team)
        Ranking.objects.using(db_alias).filter(pk=row.pk).update(team=team)
        assert [one.pk for one in Ranking.cached.using(db_alias).filter(team=team)] == [row.pk]

    def test_a_key_over_both_tables(self, db_alias: str) -> None:
        row, team = self.make(db_alias), next(_numbers)
        for values in ({"team": team}, {"level": 7}, {"level": 8, "team": team + 1_000_000}):
            asked = {"level": row.level, "team": row.team, **values}
            assert not Ranking.cached.using(db_alias).filter(**asked)
            Ranking.objects.using(db_alias).filter(pk=row.pk).update(**values)
            assert [one.pk for one in Ranking.cached.using(db_alias).filter(**asked)] == [row.pk]
            row.refresh_from_db()
        asked = {"level": 9, "team": next(_numbers)}
        assert not Ranking.cached.using(db_alias).filter(**asked)
        other = Ranking.objects.using(db_alias).create(code=f"code {next(_numbers)}", **asked)
        assert list(Ranking.cached.using(db_alias).filter(**asked)) == [other]


class TestServe:
    def test_false_voids_and_does_not_serve(self, count_round_trips: Count, db_alias: str, server: Server) -> None:
        row = Quiet.objects.using(db_alias).create(slug=f"quiet {next(_numbers)}")
        with count_round_trips() as costs:
            for _ in range(2):
                assert Quiet.cached.using(db_alias).get(slug=row.slug) == row
        assert (costs.round_trips, len(costs.sql)) == (0, 2)
        told: set[Any] = set()
        with armed("after-intent", lambda: told.update(server.intents())):
            Quiet.objects.using(db_alias).filter(pk=row.pk).update(slug="loud" + row.slug)
        assert ("app.quiet.unique:slug", "loud" + row.slug) in {(label, key) for label, _, key in told}


class TestPreciseUpdates:
    """A write by a condition is asked which rows it hit: they are dropped, the others stay."""

    def make(self, db: str, *numbers: int) -> list[Precise]:
        return [Precise.objects.using(db).create(name=f"p{number}", number=number) for number in numbers]

    @pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
    @pytest.mark.parametrize("what", ["update", "delete", "raw", "raw-comment", "raw-semicolon"])
    def test_drop_the_rows_they_hit(
        self, what: str, is_atomic: bool, db_alias: str, server: Server, elsewhere: Elsewhere
    ) -> None:
        base = 1_000_000 * next(_numbers)
        rows = self.make(db_alias, base, base + 1, base + 2)
        pks = [one.pk for one in rows]
        server.empty()
        assert len(elsewhere(lambda: Precise.cached.using(db_alias).in_bulk(pks))) == 3

        def write() -> Any:
            hit = Precise.objects.using(db_alias).filter(number__gte=base + 1, name__startswith="p")
            if what == "update":
                return hit.update(name="new")
            if what == "delete":
                return hit._raw_delete(db_alias)
            tail = {"raw": "", "raw-comment": " -- not more", "raw-semicolon": " ; "}[what]
            with connections[db_alias].cursor() as cursor:
                cursor.execute(f"UPDATE app_precise SET name = 'new' WHERE number > %s{tail}", [base])
                return cursor.rowcount

        if is_atomic:
            with transaction.atomic(using=db_alias):
                assert write() == 2
        else:
            assert write() == 2
        assert server.warm_rows(Precise, db_alias) == {ident(Precise, db_alias, pks[0])}
        found = elsewhere(lambda: Precise.cached.using(db_alias).in_bulk(pks))
        assert {pk: one.name for pk, one in found.items()} == dict(
            QuerySet(Precise).using(db_alias).filter(pk__in=pks).values_list("pk", "name")
        )

    def test_of_a_key_s_column_by_what_the_rows_hold_then(self, db_alias: str, elsewhere: Elsewhere) -> None:
        base = 1_000_000 * next(_numbers)
        row, _ = self.make(db_alias, base, base + 500)
        for number in (base, base + 1, base + 500):
            elsewhere(lambda number=number: list(Precise.cached.using(db_alias).filter(number=number)))
        Precise.objects.using(db_alias).filter(number=base).update(number=F("number") + 1)
        assert elsewhere(lambda: list(Precise.cached.using(db_alias).filter(number=base + 1))) == [row]
        assert elsewhere(lambda: list(Precise.cached.using(db_alias).filter(number=base))) == []

    def test_that_hit_nothing_drop_nothing(self, db_alias: str, server: Server) -> None:
        (row,) = self.make(db_alias, 1_000_000 * next(_numbers))
        Precise.cached.using(db_alias).get(pk=row.pk)
        assert Precise.objects.using(db_alias).filter(number=-1).update(name="none") == 0
        assert ident(Precise, db_alias, row.pk) in server.warm_rows(Precise, db_alias)


class TestUndeclared:
    def test_is_allowed_by_default(self, db_alias: str) -> None:
        assert list(Quiet.cached.using(db_alias).filter(slug__startswith="none")) == []

    def test_can_be_warned_of(self, db_alias: str) -> None:
        with (
            override_settings(CACHEASIDE={"UNDECLARED": "warn"}),
            pytest.warns(UndeclaredLookupWarning, match=r"app\.Quiet\.cached .*StartsWith.*Unique\('slug'\)") as caught,
        ):
            list(Quiet.cached.using(db_alias).filter(slug__startswith="none"))
        assert caught[0].filename == __file__

    @pytest.mark.parametrize(
        "ask",
        [
            lambda rows: list(rows.filter(slug__startswith="none")),
            lambda rows: rows.filter(slug__startswith="none").first(),
            lambda rows: rows.get(slug__startswith="none"),
            lambda rows: list(rows.filter(slug="none").values("slug")),
        ],
        ids=["filter", "first", "get", "values"],
    )
    def test_can_be_refused(self, ask: Any, db_alias: str) -> None:
        with (
            override_settings(CACHEASIDE={"UNDECLARED": "raise"}),
            pytest.raises(UndeclaredLookupError, match="Declare"),
        ):
            ask(Quiet.cached.using(db_alias))

    def test_what_is_declared_or_asks_for_everything_is_not_meant(self, db_alias: str) -> None:
        with override_settings(CACHEASIDE={"UNDECLARED": "raise"}):
            list(Quiet.cached.using(db_alias).all())
            list(Quiet.cached.using(db_alias).filter(slug="none"))
            list(Quiet.cached.using(db_alias).filter(pk__in=[1, 2]))
            list(Quiet.objects.using(db_alias).filter(slug__startswith="none"))
            Quiet.cached.using(db_alias).filter(pk=1).first()

    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(lambda rows, ware: list(rows.filter(name="old").none()), id="none"),
            pytest.param(lambda rows, ware: list(rows.filter(name="old")[0:0]), id="empty-slice"),
            pytest.param(lambda rows, ware: ware.category.delete(), id="cascade"),
            pytest.param(
                lambda rows, ware: Category.objects.using(ware._state.db).filter(pk=ware.category_id).delete(),
                id="cascade-of-a-queryset",
            ),
            pytest.param(lambda rows, ware: prefetch_related_objects([ware.category], "coded_wares"), id="prefetch"),
            pytest.param(lambda rows, ware: list(Ware.objects.using(rows.db).prefetch_related("coded")), id="to-field"),
            pytest.param(lambda rows, ware: ware.coded, id="access"),
            pytest.param(lambda rows, ware: list(ware.category.ware_set(manager="cached").all()), id="reverse"),
            pytest.param(
                lambda rows, ware: ware.full_clean(exclude=["second_category", "genre", "crest"]), id="validation"
            ),
            pytest.param(lambda rows, ware: ware.refresh_from_db(), id="refresh"),
            pytest.param(lambda rows, ware: ware.save(), id="save"),
            pytest.param(lambda rows, ware: rows.filter(name=ware.name).delete(), id="delete"),
            pytest.param(lambda rows, ware: rows.filter(name=ware.name).update(name="new"), id="update"),
            pytest.param(lambda rows, ware: rows.update_or_create(pk=ware.pk, defaults={"name": "n"}), id="upsert"),
            pytest.param(lambda rows, ware: rows.get_or_create(name=ware.name), id="get-or-create"),
            pytest.param(lambda rows, ware: lock(rows.filter(name=ware.name)), id="lock"),
        ],
    )
    def test_nor_is_what_django_reads_for_itself_or_in_order_to_write(self, ask: Any, db_alias: str) -> None:
        """Nor what reads nothing; relations come to ``cached`` by ``base_manager_name``."""
        category = Category.objects.using(db_alias).create()
        ware = QuerySet(Ware).using(db_alias).create(name=f"w{next(_numbers)}", category=category, coded=category)
        ware = QuerySet(Ware).using(db_alias).get(pk=ware.pk)
        with override_settings(CACHEASIDE={"UNDECLARED": "raise"}):
            ask(Ware.cached.using(db_alias), ware)

    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(lambda rows: get_object_or_404(rows, name="none"), id="shortcut"),
            pytest.param(lambda rows: list(Paginator(rows.filter(name__gt="").order_by("pk"), 5).page(1)), id="page"),
            pytest.param(lambda rows: Template("{% for one in rows %}{% endfor %}").render(given(rows)), id="template"),
            pytest.param(lambda rows: async_to_sync(rows.aget)(name="none"), id="coroutine"),
            pytest.param(lambda rows: rows.in_bulk(["none"], field_name="code"), id="in-bulk"),
        ],
    )
    def test_what_is_asked_through_django_is(self, ask: Any, db_alias: str) -> None:
        Category.objects.using(db_alias).create(name="on the page")  # a page of nothing asks for nothing
        with (
            override_settings(CACHEASIDE={"UNDECLARED": "raise"}),
            pytest.raises(UndeclaredLookupError, match="Declare"),
        ):
            ask(Category.cached.using(db_alias))


def lock(rows: Any) -> None:
    with transaction.atomic(using=rows.db):
        list(rows.select_for_update())


def given(rows: Any) -> Context:
    return Context({"rows": rows.filter(name="none")})

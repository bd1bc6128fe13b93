"""``CacheAsideViewMixin``: a view with it answers as it does without, from the cache where it can."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connections, models
from django.db.models import Count as CountOf
from django.db.models import F, Prefetch, Q
from django.test import override_settings
from django.urls import include, path
from django.utils import timezone, translation
from rest_framework import filters, generics, pagination, permissions, renderers, routers, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.versioning import BaseVersioning

from django_cacheaside.engine.tally import Event
from django_cacheaside.orm import runtime
from django_cacheaside.orm.serving import serve
from django_cacheaside.orm.switch import disabled
from django_cacheaside.rest_framework import CacheAsideViewMixin
from django_cacheaside.rest_framework.cache_status import Reads, Way, member
from django_cacheaside.rest_framework.etags import etag_of
from tests.app.catalog import Item, Kit, Label, Maker, Pet, Sign, Token, Ware
from tests.app.letters import Letter, LetterProxy
from tests.fronts.api import Api, serializer_of, view_of
from tests.orm.conftest import client, count_round_trips, databases, db_alias  # noqa: F401  fixtures
from tests.orm.costs import Count

pytestmark = pytest.mark.usefixtures("databases")

HIT, MISSING, MISS, BYPASS, METHOD, NOT_ASKED = (
    f"CacheAside; {told}"
    for told in ("hit", "hit; detail=missing", "fwd=miss; stored", "fwd=bypass", "fwd=method", "detail=not-asked")
)
_numbers = count(1)


@pytest.fixture
def api(db_alias: str) -> Iterator[Api]:  # noqa: F811
    api = Api(db_alias)
    yield api
    api.close()


@pytest.fixture
def user(db_alias: str) -> User:  # noqa: F811
    return User.objects.using(db_alias).create(username=f"user {next(_numbers)}")


@pytest.fixture
def other(db_alias: str) -> User:  # noqa: F811
    return User.objects.using(db_alias).create(username=f"other {next(_numbers)}")


@pytest.fixture
def letter(db_alias: str, user: User) -> Letter:  # noqa: F811
    return Letter.objects.using(db_alias).create(owner=user, slug=f"letter-{next(_numbers)}", subject="hello")


@pytest.fixture
def letters(api: Api) -> Api:
    """All letters, for everybody."""
    shown = serializer_of(Letter, owner=serializers.PrimaryKeyRelatedField(read_only=True))
    return api.serves(Letter, lambda view: Letter.objects.using(api.db), serializer_class=shown)


def status(response: Any) -> str:
    """What the answer says of the cache."""
    return response.headers["Cache-Status"]


def warm(row: Any) -> Any:
    """Put a row into the cache."""
    return type(row)._default_manager.db_manager(row._state.db) and type(row).cached.using(row._state.db).get(pk=row.pk)


def behind_our_back(row: models.Model, **values: Any) -> None:
    """Write a row as psql does: past Django, so that the cache keeps the old one."""
    connection = connections[row._state.db or ""]
    connection.ensure_connection()
    mark = "?" if connection.vendor == "sqlite" else "%s"
    assignments = ", ".join(f'"{name}" = {mark}' for name in values)
    sql = f'UPDATE "{row._meta.db_table}" SET {assignments} WHERE id = {mark}'
    connection.connection.execute(sql, [*values.values(), row.pk])


class TestGetObject:
    def test_costs_one_mget_and_no_sql_if_it_is_a_hit(
        self,
        letters: Api,
        letter: Letter,
        count_round_trips: Count,  # noqa: F811
    ) -> None:
        warm(letter)
        with count_round_trips() as costs:
            response = letters.get(letter.pk)
        assert (response.status_code, response.data["slug"], status(response)) == (200, letter.slug, HIT)
        assert (costs.commands, costs.round_trips, costs.sql) == (Counter(mget=1), 1, [])

    def test_fills_what_it_missed(self, letters: Api, letter: Letter) -> None:
        assert status(letters.get(letter.pk)) == MISS
        assert status(letters.get(letter.pk)) == HIT

    def test_knows_what_is_missing(self, letters: Api, letter: Letter, count_round_trips: Count) -> None:  # noqa: F811
        absent = letter.pk + 10**6
        assert letters.get(absent).status_code == 404
        with count_round_trips() as costs:
            response = letters.get(absent)
        assert (response.status_code, status(response), costs.sql) == (404, MISSING, [])

    @pytest.mark.parametrize(
        "write",
        [
            pytest.param(lambda row: row.save(), id="save"),
            pytest.param(
                lambda row: type(row).objects.using(row._state.db).filter(pk=row.pk).update(subject="new"), id="update"
            ),
            pytest.param(lambda row: type(row).objects.using(row._state.db).bulk_update([row], ["subject"]), id="bulk"),
        ],
    )
    def test_is_new_after_a_write(self, letters: Api, letter: Letter, write: Callable[[Any], Any]) -> None:
        before = letters.get(letter.pk)
        letter.subject = "new"
        write(letter)
        after = letters.get(letter.pk, if_none_match=before.headers["ETag"])
        assert (after.status_code, after.data["subject"], status(after)) == (200, "new", MISS)

    def test_is_gone_after_a_deletion(self, letters: Api, letter: Letter) -> None:
        letters.get(letter.pk)
        pk = letter.pk
        letter.delete()
        assert letters.get(pk).status_code == 404

    @pytest.mark.parametrize(
        "spelt", ["x", "1.5", "9" * 30, "-1", "٣", "0x1", "1_0", "None", "1,2", "%00", "a/b", "NaN"]
    )
    @pytest.mark.parametrize("model", [Letter, Token, Sign])
    def test_of_an_odd_lookup_is_what_it_is_without_the_mixin(self, api: Api, model: Any, spelt: str) -> None:
        answers = []
        for mixin in (CacheAsideViewMixin, object):
            api.serves(model, lambda view: model.objects.using(api.db), mixin=mixin)
            try:
                answers.append(api.get(spelt).status_code)
            except Exception as error:
                answers.append(type(error))
            api.close()
        assert answers[0] == answers[1]

    def test_takes_a_uuid_however_it_is_spelt(self, api: Api) -> None:
        token = Token.objects.using(api.db).create()
        api.serves(Token, lambda view: Token.objects.using(api.db))
        for spelt in (str(token.pk), token.pk.hex, str(token.pk).upper(), f"{{{token.pk}}}"):
            assert api.get(spelt).data["id"] == str(token.pk)
        assert status(api.get(token.pk.hex)) == HIT

    def test_is_served_by_a_unique_key(self, api: Api, letter: Letter, count_round_trips: Count) -> None:  # noqa: F811
        view = view_of(Letter, lambda view: Letter.objects.using(api.db), lookup_field="slug", lookup_url_kwarg="which")
        api.at(path("<slug:which>/", view.as_view()))
        assert [status(api.get(letter.slug)) for _ in range(2)] == [MISS, MISS]  # the key, then the row
        with count_round_trips() as costs:
            response = api.get(letter.slug)
        assert (response.data["id"], status(response), costs.sql) == (letter.pk, HIT, [])
        assert api.get("no-such-letter").status_code == 404

    def test_says_what_the_url_lacks(self, api: Api) -> None:
        api.at(path("<pk>/", view_of(Letter, lambda view: Letter.objects.using(api.db), lookup_field="slug").as_view()))
        with pytest.raises(AssertionError, match="looks its row up by the URL's 'slug'"):
            api.get(1)

    @pytest.mark.parametrize(
        "rows",
        [
            pytest.param(lambda db: Letter.cached.db_manager(db), id="cached-manager"),
            pytest.param(lambda db: Letter.objects.db_manager(db), id="manager"),
            pytest.param(lambda db: Letter.cached.using(db), id="cached"),
            pytest.param(lambda db: Letter.cached.using(db).all(), id="cached-all"),
            pytest.param(lambda db: Letter.objects.using(db).order_by("-words"), id="ordered"),
            pytest.param(lambda db: Letter.objects.using(db).filter(is_draft=False, words=0), id="equality"),
            pytest.param(lambda db: Letter.objects.using(db).filter(Q(is_draft=False) & Q(sent=None)), id="null"),
        ],
    )
    def test_is_served_from_each_queryset_of_equalities(
        self,
        api: Api,
        letter: Letter,
        rows: Callable[[str], Any],
        count_round_trips: Count,  # noqa: F811
    ) -> None:
        api.serves(Letter, lambda view: rows(api.db))
        warm(letter)
        with count_round_trips() as costs:
            response = api.get(letter.pk)
        assert (response.data["id"], status(response), costs.sql) == (letter.pk, HIT, [])

    def test_gives_instances_of_the_querysets_model(self, api: Api, letter: Letter) -> None:
        seen: list[type] = []

        class Look(permissions.BasePermission):
            def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
                seen.append(type(obj))
                return True

        api.serves(LetterProxy, lambda view: LetterProxy.objects.using(api.db), permission_classes=[Look])
        warm(letter)
        assert status(api.get(letter.pk)) == HIT
        assert seen == [LetterProxy]

    def test_serves_children_of_other_models(self, api: Api) -> None:
        kit = Kit.objects.using(api.db).create(name="kit", pieces=3)
        shown = serializer_of(Kit, "id", "name", "pieces", "category")
        api.serves(Kit, lambda view: Kit.objects.using(api.db), serializer_class=shown)
        assert [api.get(kit.pk).data["pieces"] for _ in range(2)] == [3, 3]
        Ware.objects.using(api.db).filter(pk=kit.pk).update(name="new")
        assert api.get(kit.pk).data["name"] == "new"

    def test_reads_a_column_that_is_kept_out_of_the_cache(self, api: Api, letter: Letter) -> None:
        Letter.objects.using(api.db).filter(pk=letter.pk).update(secret="s")
        api.serves(
            Letter, lambda view: Letter.objects.using(api.db), serializer_class=serializer_of(Letter, "id", "secret")
        )
        for expected in (MISS, HIT):
            response = api.get(letter.pk)
            assert (response.data["secret"], status(response)) == ("s", expected)
            assert "ETag" not in response.headers  # the column may change without the cached row

    def test_prefetches_what_the_queryset_says(self, api: Api, count_round_trips: Count) -> None:  # noqa: F811
        item = Item.objects.using(api.db).create(name="item")
        item.labels.set([Label.objects.using(api.db).create(name=name) for name in ("one", "two")])
        ones = Prefetch("labels", Label.objects.filter(name="one"))
        shown = serializer_of(Item, "id", labels=serializers.StringRelatedField(many=True, read_only=True))
        api.serves(Item, lambda view: Item.objects.using(api.db).prefetch_related(ones), serializer_class=shown)
        api.get(item.pk)
        with count_round_trips() as costs:
            response = api.get(item.pk)
        assert (len(response.data["labels"]), status(response), costs.selects) == (1, HIT, 1)

    @pytest.mark.parametrize(
        ("model", "rows"),
        [
            pytest.param(Letter, lambda db: Letter.objects.db_manager(db), id="manager"),
            pytest.param(Pet, lambda db: Pet.cached.using(db), id="manager-that-hides"),
            pytest.param(Item, lambda db: Item.plain.using(db), id="plain"),
            pytest.param(Maker, lambda db: Maker.objects.using(db), id="not-cached"),
        ],
    )
    def test_takes_whatever_get_queryset_gives(self, api: Api, user: User, model: Any, rows: Any) -> None:
        values = {"owner": user, "slug": f"odd-{next(_numbers)}"} if model is Letter else {"name": "old"}
        row = model._base_manager.using(api.db).create(**values)
        api.serves(model, lambda view: rows(api.db))
        assert [api.get(row.pk).data["id"] for _ in range(2)] == [row.pk, row.pk]

    def test_leaves_a_queryset_with_a_get_of_its_own_alone(self, api: Api) -> None:
        """It may ask for a password."""
        pet = Pet.everything.using(api.db).create()
        api.serves(Pet, lambda view: Pet.guarded.using(api.db))
        warm(pet)
        with pytest.raises(PermissionError, match="say please"):
            api.get(pet.pk)

    def test_reads_the_database_inside_disabled(self, letters: Api, letter: Letter) -> None:
        warm(letter)
        with disabled():
            assert status(letters.get(letter.pk)) == BYPASS

    def test_is_503_if_the_database_has_enough_to_do(
        self, letters: Api, letter: Letter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Redis is away, and others have all the turns that ``FALLBACK_LIMIT`` gives."""
        with override_settings(CACHEASIDE={"CACHE": "default", "FALLBACK_LIMIT": 1, "FALLBACK_WAIT": 0}):
            current = runtime.current()
            monkeypatch.setattr(current.breaker, "_retry_s", 3600.0)
            current.breaker.open("a test says so")
            turns = current.fetcher._bypass._turns
            assert turns is not None
            with turns:
                response = letters.get(letter.pk)
                assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
                assert response.data["detail"].code == "overloaded"
                assert status(response) == "CacheAside; detail=overloaded"
            assert letters.get(letter.pk).status_code == 200

    def test_works_while_redis_is_away(self, letters: Api, letter: Letter, monkeypatch: pytest.MonkeyPatch) -> None:
        warm(letter)
        breaker = runtime.current().invalidator.breaker
        monkeypatch.setattr(breaker, "is_open", True)
        monkeypatch.setattr(breaker, "lets_through", lambda: False)
        response = letters.get(letter.pk)
        assert (response.data["id"], status(response)) == (letter.pk, f"{BYPASS}; detail=unreachable")


class TestHostileQuerysets:
    """The row is in the cache, and the queryset says no."""

    @pytest.mark.parametrize(
        "rows",
        [
            pytest.param(lambda all_: all_.exclude(name="hidden"), id="exclude"),
            pytest.param(lambda all_: all_.annotate(n=CountOf("labels")).filter(n__gt=0), id="annotate"),
            pytest.param(lambda all_: all_.filter(labels__name="seen").distinct(), id="distinct-over-a-join"),
            pytest.param(lambda all_: all_.filter(labels__name="seen"), id="join"),
            pytest.param(lambda all_: all_.filter(name="seen"), id="equality"),
            pytest.param(lambda all_: all_.filter(~Q(name="hidden")), id="negated"),
            pytest.param(lambda all_: all_.filter(Q(name="seen") | Q(stock=7)), id="or"),
            pytest.param(lambda all_: all_.filter(Q(name="seen") ^ Q(stock=7)), id="xor"),
            pytest.param(lambda all_: all_.filter(stock__gt=0), id="range"),
            pytest.param(lambda all_: all_.filter(name=F("slug")), id="expression"),
            pytest.param(lambda all_: all_.filter(name__iexact="seen"), id="iexact"),
            pytest.param(lambda all_: all_.filter(data={"seen": True}), id="json"),
            pytest.param(lambda all_: all_.filter(data__seen=True), id="json-key"),
            pytest.param(lambda all_: all_.filter(name__in=["seen"]), id="in"),
            pytest.param(lambda all_: all_.filter(pk__in=[]), id="in-nothing"),
            pytest.param(lambda all_: all_.filter(pk__lt=0), id="other-key"),
            pytest.param(lambda all_: all_.filter(pk=0), id="another-row"),
            pytest.param(lambda all_: all_.extra(where=["stock > 0"]), id="extra"),
            pytest.param(lambda all_: all_.none(), id="none"),
            pytest.param(lambda all_: all_.filter(maker__name="seen"), id="foreign-key"),
            pytest.param(lambda all_: all_.filter(maker__isnull=False), id="not-null"),
            pytest.param(lambda all_: all_.exclude(pk__in=all_.filter(name="hidden").values("pk")), id="subquery"),
        ],
    )
    @pytest.mark.parametrize("way", ["queryset", "filter-backend"])
    def test_the_row_is_not_served(self, api: Api, rows: Callable[[Any], Any], way: str) -> None:
        class Backend(filters.BaseFilterBackend):
            def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
                return rows(queryset)

        item = Item.objects.using(api.db).create(name="hidden")
        narrow: Any = {"queryset": rows, "filter-backend": lambda all_: all_}[way]
        backends = [Backend] if way == "filter-backend" else []
        api.serves(Item, lambda view: narrow(Item.objects.using(api.db)), filter_backends=backends)
        assert warm(item).name == "hidden"
        for _ in range(2):
            assert api.get(item.pk).status_code == 404
            assert api("PATCH", item.pk, {"name": "new"}).status_code == 404
            assert api("DELETE", item.pk).status_code == 404
        assert Item.objects.using(api.db).get(pk=item.pk).name == "hidden"

    @pytest.mark.parametrize(
        "rows",
        [
            pytest.param(lambda all_: all_.exclude(name="hidden"), id="exclude"),
            pytest.param(lambda all_: all_.annotate(n=CountOf("labels")), id="annotate"),
            pytest.param(lambda all_: all_.filter(labels__name="seen").distinct(), id="distinct-over-a-join"),
            pytest.param(lambda all_: all_.only("name"), id="only"),
            pytest.param(lambda all_: all_.defer("name"), id="defer"),
            pytest.param(lambda all_: all_.select_related("maker"), id="select-related"),
        ],
    )
    def test_others_come_from_the_database(self, api: Api, rows: Callable[[Any], Any]) -> None:
        item = Item.objects.using(api.db).create(name="seen")
        item.labels.add(Label.objects.using(api.db).create(name="seen"))
        api.serves(Item, lambda view: rows(Item.objects.using(api.db)))
        warm(item)
        response = api.get(item.pk)
        assert (response.data["name"], status(response)) == ("seen", BYPASS)

    def test_too_many_rows_are_djangos_error(self, api: Api, user: User) -> None:
        pair = [Letter.objects.using(api.db).create(owner=user, slug=f"pair-{next(_numbers)}") for _ in range(2)]
        view = view_of(Letter, lambda view: Letter.objects.using(api.db), lookup_field="owner_id")
        api.at(path("<owner_id>/", view.as_view()))
        with pytest.raises(Letter.MultipleObjectsReturned):
            api.get(user.pk)
        pair[0].delete()
        assert api.get(user.pk).data["id"] == pair[1].pk


class TestFilterBackends:
    def test_are_these(self) -> None:
        """A backend that Django REST framework adds has a test here, or this one fails."""
        own = {
            kind
            for kind in vars(filters).values()
            if isinstance(kind, type)
            and issubclass(kind, filters.BaseFilterBackend)
            and kind.__module__ == filters.__name__
        }
        assert {kind.__name__ for kind in own - {filters.BaseFilterBackend}} <= {
            "SearchFilter",
            "UnaccentedSearchFilter",  # from 3.18 on
            "OrderingFilter",
        }

    @pytest.mark.parametrize("fields", [["subject"], ["^subject"], ["=subject"], ["subject", "topics__name"]])
    def test_a_search_is_never_ignored(self, api: Api, letter: Letter, fields: list[str]) -> None:
        api.serves(
            Letter,
            lambda view: Letter.objects.using(api.db),
            filter_backends=[filters.SearchFilter],
            search_fields=fields,
        )
        warm(letter)
        assert status(api.get(letter.pk)) == HIT
        for search, found in (("hello", 200), ("other", 404)):
            response = api.get(f"/{letter.pk}/?search={search}")
            assert (response.status_code, status(response)) == (found, BYPASS)

    @pytest.mark.skipif(not hasattr(filters, "UnaccentedSearchFilter"), reason="it came with 3.18")
    def test_an_unaccented_search_is_never_ignored(self, letter: Letter) -> None:
        """What it makes of the queryset is not served; the extension that would execute it is not needed."""
        db = letter._state.db
        request = SimpleNamespace(query_params={"search": "hello"})
        view = SimpleNamespace(search_fields=["subject"])
        rows = Letter.objects.using(db).filter(pk=letter.pk)
        assert serve(rows) is not None
        assert serve(filters.UnaccentedSearchFilter().filter_queryset(request, rows, view)) is None

    def test_an_ordering_changes_nothing_for_one_row(self, api: Api, letter: Letter) -> None:
        api.serves(
            Letter,
            lambda view: Letter.objects.using(api.db),
            filter_backends=[filters.OrderingFilter],
            ordering_fields=["subject"],
        )
        warm(letter)
        for query in ("", "?ordering=subject", "?ordering=-subject", "?ordering=nonsense"):
            assert status(api.get(f"/{letter.pk}/{query}")) == HIT


class OwnersOnly(permissions.BasePermission):
    """Asked of the object."""

    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return bool(obj.owner_id == request.user.pk)


class TestTwoUsers:
    """One may see the row, the other may not; it is in the cache all the time."""

    def test_a_queryset_of_the_owner_hides_it(
        self,
        api: Api,
        letter: Letter,
        user: User,
        other: User,
        count_round_trips: Count,  # noqa: F811
    ) -> None:
        api.serves(Letter, lambda view: Letter.objects.using(api.db).filter(owner=view.request.user))
        warm(letter)
        for who, found in ((user, 200), (other, 404), (user, 200)):
            api.user = who
            with count_round_trips() as costs:
                response = api.get(letter.pk)
            assert (response.status_code, status(response), costs.sql) == (found, HIT, [])

    @pytest.mark.parametrize("headers", [{}, {"if_none_match": "*"}, {"if_match": '"x"'}], ids=["", "none", "match"])
    def test_object_permissions_are_asked_on_every_request(
        self, api: Api, letter: Letter, user: User, other: User, headers: dict[str, str]
    ) -> None:
        """Before a 304 and a 412 too: who may not see the row does not learn whether it has changed."""
        api.serves(Letter, lambda view: Letter.objects.using(api.db), permission_classes=[OwnersOnly])
        for who, found in ((user, {200, 304, 412}), (other, {403}), (user, {200, 304, 412}), (other, {403})):
            api.user = who
            for method in ("GET", "HEAD", "PATCH"):
                assert (
                    api(method, letter.pk, {"words": 1} if method == "PATCH" else None, **headers).status_code in found
                )

    def test_permissions_are_asked_before_anything_is_read(
        self,
        api: Api,
        letter: Letter,
        user: User,
        count_round_trips: Count,  # noqa: F811
    ) -> None:
        api.serves(Letter, lambda view: Letter.objects.using(api.db), permission_classes=[permissions.IsAuthenticated])
        warm(letter)
        with count_round_trips() as costs:
            response = api.get(letter.pk, if_none_match="*")
        assert (response.status_code, status(response), costs.round_trips) == (403, NOT_ASKED, 0)
        api.user = user
        assert status(api.get(letter.pk)) == HIT

    def test_the_etag_of_one_is_not_the_others(self, letters: Api, letter: Letter, user: User, other: User) -> None:
        """A shared browser must not take over what the other one was shown."""
        etags = []
        for who in (user, other, AnonymousUser()):
            letters.user = who
            etags.append(letters.get(letter.pk).headers["ETag"])
        assert len(set(etags)) == 3


class ByHeader(BaseVersioning):
    """A version that neither the URL nor the media type shows."""

    def determine_version(self, request: Any, *args: Any, **kwargs: Any) -> str:
        return str(request.headers["X-Version"])


CHANGES: dict[str, Any] = {
    "owner": lambda row: row.owner_id + 1,
    "slug": lambda row: f"{row.slug}-",
    "subject": lambda row: None,
    "words": lambda row: 1,
    "weight": lambda row: Decimal("0.01"),
    "is_draft": lambda row: True,
    "sent": lambda row: dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc),
    "data": lambda row: {"a": 1},
}


class TestETag:
    @pytest.mark.parametrize("column", [*CHANGES])
    def test_changes_with_each_column(self, letters: Api, letter: Letter, column: str) -> None:
        before = letters.get(letter.pk).headers["ETag"]
        value = CHANGES[column](letter)
        Letter.objects.using(letters.db).filter(pk=letter.pk).update(**{column: value})
        after = letters.get(letter.pk)
        assert after.headers["ETag"] != before
        Letter.objects.using(letters.db).filter(pk=letter.pk).update(**{column: getattr(letter, column)})
        assert letters.get(letter.pk).headers["ETag"] == before

    def test_is_tried_with_all_columns(self) -> None:
        kept = {field.name for field in Letter._meta.concrete_fields} - {"id", "secret"}
        assert set(CHANGES) == kept

    def test_is_the_same_however_the_row_was_read(self, letters: Api, letter: Letter) -> None:
        """From a miss, a hit, the database."""
        Letter.objects.using(letters.db).filter(pk=letter.pk).update(sent=timezone.now(), weight="1.5", data={"b": 1})
        etags = [letters.get(letter.pk).headers["ETag"] for _ in range(2)]
        with disabled():
            etags.append(letters.get(letter.pk).headers["ETag"])
        assert len(set(etags)) == 1
        assert etags[0][0] == etags[0][-1] == '"'  # strong: If-Match compares by nothing weaker

    def test_differs_between_null_and_its_name(self, letter: Letter) -> None:
        etags = []
        for subject in (None, "None", "", "''"):
            letter.subject = subject
            etags.append(etag_of(letter))
        assert len(set(etags)) == 4

    def test_does_not_mix_columns_up(self, letter: Letter) -> None:
        letter.slug, letter.subject = "ab", "c"
        before = etag_of(letter)
        letter.slug, letter.subject = "a", "bc"
        assert etag_of(letter) != before
        assert etag_of(letter, 1, 23) != etag_of(letter, 12, 3)

    def test_depends_on_media_type_version_language_and_time_zone(self, api: Api, letter: Letter) -> None:
        api.serves(
            Letter,
            lambda view: Letter.objects.using(api.db),
            renderer_classes=[
                renderers.JSONRenderer,
                type("Text", (renderers.JSONRenderer,), {"media_type": "text/x"}),
            ],
            versioning_class=ByHeader,
        )

        def etag(accept: str = "application/json", version: str = "1") -> str:
            return str(api.get(letter.pk, accept=accept, x_version=version).headers["ETag"])

        etags = [etag(), etag("text/x"), etag("application/json; indent=4"), etag(version="2")]
        with translation.override("de"):
            etags.append(etag())
        with timezone.override("Asia/Tokyo"):
            etags.append(etag())
        assert len(set(etags)) == 6
        assert etag() == etags[0]

    def test_depends_on_what_the_serializer_shows(self, api: Api, letter: Letter) -> None:
        class Chosen(serializer_of(Letter, "id", "subject", "words")):  # type: ignore[misc]
            def get_fields(self) -> Any:
                chosen = self.context["request"].user.chosen
                return {name: field for name, field in super().get_fields().items() if name in chosen}

        api.serves(Letter, lambda view: Letter.objects.using(api.db), serializer_class=Chosen)
        etags = []
        for chosen in (["id"], ["id", "words"], ["id", "subject"], ["id"]):
            api.user = User(pk=1)
            api.user.chosen = chosen
            etags.append(api.get(letter.pk).headers["ETag"])
        assert len(set(etags)) == 3
        assert etags[0] == etags[3]

    @pytest.mark.parametrize(
        "declared",
        [
            pytest.param({"owner": serializers.StringRelatedField()}, id="related-text"),
            pytest.param({"owner": serializers.SlugRelatedField(slug_field="username", read_only=True)}, id="related"),
            pytest.param({"owner": serializer_of(User, "id", "username")(read_only=True)}, id="nested"),
            pytest.param({"name": serializers.CharField(source="owner.username", read_only=True)}, id="through"),
            pytest.param({"name": serializers.CharField(source="owner", read_only=True)}, id="str-of-related"),
            pytest.param({"url": serializers.ReadOnlyField(source="get_deferred_fields")}, id="method-of-row"),
            pytest.param({"x": serializers.SerializerMethodField(method_name="get_fields")}, id="method"),
            pytest.param(
                {"owner": serializers.PrimaryKeyRelatedField(pk_field=serializers.Field(), read_only=True)},
                id="own-key",
            ),
            pytest.param({"topics": serializers.PrimaryKeyRelatedField(many=True, read_only=True)}, id="many"),
            pytest.param({"slug": type("Own", (serializers.CharField,), {})()}, id="unknown-field"),
            pytest.param({"file": serializers.FileField(source="slug", read_only=True)}, id="file"),
            pytest.param({"to_representation": lambda self, row: {"id": row.pk}}, id="own-representation"),
            pytest.param({"data": property(lambda self: {"id": 1})}, id="own-data"),
        ],
    )
    def test_is_not_given_where_more_than_the_row_is_shown(self, letter: Letter, declared: dict[str, Any]) -> None:
        """What else is shown may change while the row stays: a 304 would be a stale read."""
        from django_cacheaside.rest_framework.etags import parts_of_serializer

        fields = ["id", *(name for name in declared if isinstance(declared[name], serializers.Field))]
        meta = type("Meta", (), {"model": Letter, "fields": fields})
        kind = type("Shown", (serializers.ModelSerializer,), {"Meta": meta, **declared})
        assert parts_of_serializer(kind(letter), letter) is None
        assert parts_of_serializer(serializer_of(Letter)(letter), letter) is not None

    def test_is_not_given_to_what_a_view_put_together(self, api: Api, letter: Letter) -> None:
        def retrieve(view: Any, request: Any, *args: Any, **kwargs: Any) -> Response:
            return Response({**view.get_serializer(view.get_object()).data, "now": 1})

        api.serves(Letter, lambda view: Letter.objects.using(api.db), retrieve=retrieve)
        assert "ETag" not in api.get(letter.pk).headers

    def test_is_not_given_to_a_row_with_deferred_columns(self, api: Api, letter: Letter) -> None:
        api.serves(
            Letter,
            lambda view: Letter.objects.using(api.db).defer("words"),
            serializer_class=serializer_of(Letter, "id"),
        )
        assert "ETag" not in api.get(letter.pk).headers

    def test_is_not_given_to_errors_and_to_writes(self, letters: Api, letter: Letter) -> None:
        assert "ETag" not in letters.get(0).headers
        assert "ETag" not in letters("PATCH", letter.pk, {"words": 5}).headers
        assert "ETag" not in letters("DELETE", letter.pk).headers

    def test_is_not_given_to_pages(self, api: Api, letter: Letter) -> None:
        """The browsable API's has forms, with CSRF tokens that end with the session."""
        html = type("Page", (renderers.JSONRenderer,), {"media_type": "text/html", "format": "api"})
        api.serves(
            Letter,
            lambda view: Letter.objects.using(api.db),
            renderer_classes=[renderers.JSONRenderer, html],
            get_etag_parts=lambda view, letter: [],
        )
        assert [("ETag" in api.get(letter.pk, accept=kind).headers) for kind in ("*/*", "text/html")] == [True, False]
        assert renderers.BrowsableAPIRenderer.media_type == renderers.AdminRenderer.media_type == "text/html"
        assert renderers.TemplateHTMLRenderer.media_type == renderers.StaticHTMLRenderer.media_type == "text/html"

    def test_is_not_given_to_another_answer_about_the_row(self, api: Api, letter: Letter) -> None:
        def retrieve(view: Any, request: Any, *args: Any, **kwargs: Any) -> Response:
            return Response(view.get_serializer(view.get_object()).data, status=410)

        api.serves(Letter, lambda view: Letter.objects.using(api.db), retrieve=retrieve)
        response = api.get(letter.pk)
        assert (response.status_code, "ETag" in response.headers) == (410, False)

    def test_counts_the_rows_that_the_view_names(self, api: Api, letter: Letter, user: User) -> None:
        shown = serializer_of(Letter, "id", first_name=serializers.CharField(source="owner.first_name", read_only=True))
        api.serves(
            Letter,
            lambda view: Letter.objects.using(api.db),
            serializer_class=shown,
            get_etag_parts=lambda view, letter: [letter.owner],
        )
        before = api.get(letter.pk).headers["ETag"]
        assert api.get(letter.pk, if_none_match=before).status_code == 304
        User.objects.using(api.db).filter(pk=user.pk).update(first_name="renamed")
        after = api.get(letter.pk, if_none_match=before)
        assert (after.status_code, after.headers["ETag"] != before) == (200, True)

    def test_is_left_alone_where_the_view_made_one(self, api: Api, letter: Letter) -> None:
        def retrieve(view: Any, request: Any, *args: Any, **kwargs: Any) -> Response:
            data = view.get_serializer(view.get_object()).data
            return Response(data, headers={"ETag": '"own"'})

        api.serves(Letter, lambda view: Letter.objects.using(api.db), retrieve=retrieve)
        assert api.get(letter.pk).headers["ETag"] == '"own"'

    def test_can_be_switched_off(self, api: Api, letter: Letter) -> None:
        api.serves(Letter, lambda view: Letter.objects.using(api.db), has_etag=False)
        response = api.get(letter.pk, if_none_match="*")
        assert (response.status_code, "ETag" in response.headers) == (200, False)
        assert api("PATCH", letter.pk, {"words": 5}, if_match='"x"').status_code == 200


class TestNotModified:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("told", ["{}", "W/{}", '"x", {}', "*"])
    def test_what_the_client_has_is_not_sent_again(
        self,
        letters: Api,
        letter: Letter,
        method: str,
        told: str,
        count_round_trips: Count,  # noqa: F811
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """It costs an MGET; the serializer does not even begin."""
        etag = letters.get(letter.pk).headers["ETag"]
        monkeypatch.setattr(serializers.CharField, "to_representation", None)
        with count_round_trips() as costs:
            response = letters(method, letter.pk, if_none_match=told.format(etag))
        assert (response.status_code, response.content, costs.round_trips, costs.sql) == (304, b"", 1, [])
        assert (response.headers["ETag"], status(response)) == (etag, HIT)

    def test_keeps_the_headers_of_the_200(self, api: Api, letter: Letter) -> None:
        api.serves(
            Letter,
            lambda view: Letter.objects.using(api.db),
            renderer_classes=[
                renderers.JSONRenderer,
                type("Text", (renderers.JSONRenderer,), {"media_type": "text/x"}),
            ],
        )
        full = api.get(letter.pk)
        response = api.get(letter.pk, if_none_match=full.headers["ETag"])
        assert (response.status_code, response.headers["Vary"]) == (304, full.headers["Vary"])
        assert "Accept" in response.headers["Vary"]

    def test_is_not_said_of_a_row_that_changed_unseen(self, letters: Api, letter: Letter) -> None:
        etag = letters.get(letter.pk).headers["ETag"]
        Letter.objects.using(letters.db).filter(pk=letter.pk).update(words=9)
        response = letters.get(letter.pk, if_none_match=etag)
        assert (response.status_code, response.data["words"]) == (200, 9)

    def test_is_not_said_where_there_is_no_etag(self, api: Api, letter: Letter) -> None:
        shown = serializer_of(Letter, "id", owner=serializers.StringRelatedField())
        api.serves(Letter, lambda view: Letter.objects.using(api.db), serializer_class=shown)
        assert api.get(letter.pk, if_none_match='"x"').status_code == 200
        assert "ETag" not in api.get(letter.pk, if_none_match="*").headers

    @pytest.mark.parametrize("header", ["if_modified_since", "if_unmodified_since"])
    def test_dates_are_ignored(self, letters: Api, letter: Letter, header: str) -> None:
        """A row has no date. Django by itself would fail If-Unmodified-Since."""
        etag = letters.get(letter.pk).headers["ETag"]
        old = {header: "Tue, 01 Jan 1980 00:00:00 GMT"}
        assert letters.get(letter.pk, **old).status_code == 200
        assert letters.get(letter.pk, if_none_match='"x"', **old).status_code == 200
        assert letters("PATCH", letter.pk, {"words": 1}, if_match=etag, **old).status_code == 200

    def test_a_missing_row_is_404(self, letters: Api) -> None:
        for header in ("if_match", "if_none_match"):
            assert letters.get(0, **{header: "*"}).status_code == 404


class TestPreconditions:
    WRITES = pytest.mark.parametrize(
        ("method", "data"),
        [("PUT", {"words": 7}), ("PATCH", {"words": 7}), ("DELETE", None)],
        ids=["put", "patch", "delete"],
    )

    def body(self, letter: Letter, data: dict[str, Any] | None) -> dict[str, Any] | None:
        return data and {"owner": letter.owner_id, "slug": letter.slug, **data}

    @WRITES
    def test_a_write_of_the_known_row_is_carried_out(
        self, letters: Api, letter: Letter, method: str, data: dict[str, Any] | None
    ) -> None:
        etag = letters.get(letter.pk).headers["ETag"]
        response = letters(method, letter.pk, self.body(letter, data), if_match=etag)
        assert (response.status_code, status(response)) == (204 if method == "DELETE" else 200, METHOD)
        again = letters.get(letter.pk)
        assert again.status_code == 404 if method == "DELETE" else again.data["words"] == 7

    @WRITES
    def test_a_write_of_another_row_is_refused(
        self, letters: Api, letter: Letter, method: str, data: dict[str, Any] | None
    ) -> None:
        etag = letters.get(letter.pk).headers["ETag"]
        Letter.objects.using(letters.db).filter(pk=letter.pk).update(words=1)
        for header in ({"if_match": etag}, {"if_match": f"W/{letters.get(letter.pk).headers['ETag']}"}):
            response = letters(method, letter.pk, self.body(letter, data), **header)
            assert (response.status_code, status(response)) == (412, METHOD)
            assert response.data["detail"].code == "precondition_failed"
        assert Letter.objects.using(letters.db).get(pk=letter.pk).words == 1

    @WRITES
    def test_the_row_is_judged_as_the_database_has_it(
        self, letters: Api, letter: Letter, method: str, data: dict[str, Any] | None
    ) -> None:
        """psql has written it, and the cache does not know yet."""
        etag = letters.get(letter.pk).headers["ETag"]
        behind_our_back(letter, words=3)
        assert letters.get(letter.pk).headers["ETag"] == etag
        assert letters(method, letter.pk, self.body(letter, data), if_match=etag).status_code == 412

    def test_a_write_begins_from_the_row_that_the_database_has(self, api: Api, letter: Letter) -> None:
        """What was served would be saved over it; by ``cached`` too."""
        managers = (Letter.objects.db_manager(api.db), Letter.cached.db_manager(api.db))
        for at, rows in enumerate((*managers, *(manager.all() for manager in managers))):
            api.serves(Letter, lambda view: rows)  # noqa: B023
            warm(letter)
            behind_our_back(letter, subject=f"psql {at}")
            assert api("PATCH", letter.pk, {"words": 3}).data["subject"] == f"psql {at}"
            api.close()

    def test_a_write_begins_from_the_primary(self, api: Api, letter: Letter) -> None:
        """A replica has the row of a while ago, or none."""
        elsewhere = "sqlite" if api.db == "default" else "default"
        router = SimpleNamespace(
            db_for_read=lambda model, **hints: elsewhere, db_for_write=lambda model, **hints: api.db
        )
        api.serves(Letter, lambda view: Letter.objects.all(), serializer_class=serializer_of(Letter, "id", "words"))
        Letter.objects.using(elsewhere).filter(pk=letter.pk).delete()
        with override_settings(DATABASE_ROUTERS=[router]):
            assert api("PATCH", letter.pk, {"words": 3}).status_code == 200
            etag = api.get(letter.pk).headers["ETag"]
            assert api("DELETE", letter.pk, if_match=etag).status_code == 204

    @WRITES
    def test_a_star_demands_that_there_is_a_row(
        self, letters: Api, letter: Letter, method: str, data: dict[str, Any] | None
    ) -> None:
        assert letters(method, letter.pk, self.body(letter, data), if_none_match="*").status_code == 412
        assert letters(method, 0, self.body(letter, data), if_match="*").status_code == 404
        assert letters(method, letter.pk, self.body(letter, data), if_match="*").status_code in (200, 204)

    def test_what_can_not_be_judged_is_refused(self, api: Api, letter: Letter) -> None:
        shown = serializer_of(Letter, "id", "words", owner=serializers.StringRelatedField())
        api.serves(Letter, lambda view: Letter.objects.using(api.db), serializer_class=shown)
        assert api("PATCH", letter.pk, {"words": 1}, if_match='"x"').status_code == 412
        assert api("PATCH", letter.pk, {"words": 1}, if_match="*").status_code == 200

    def test_the_etag_is_that_of_the_serializer_of_get(self, api: Api, letter: Letter) -> None:
        reads, writes = serializer_of(Letter, "id", "words", "subject"), serializer_of(Letter, "words")
        api.serves(
            Letter,
            lambda view: Letter.objects.using(api.db),
            get_serializer_class=lambda view: reads if view.request.method in permissions.SAFE_METHODS else writes,
        )
        etag = api.get(letter.pk).headers["ETag"]
        assert api("PATCH", letter.pk, {"words": 1}, if_match=etag).data == {"words": 1}
        assert api("PATCH", letter.pk, {"words": 2}, if_match=etag).status_code == 412

    def test_the_row_is_locked_in_a_transaction(
        self,
        letters: Api,
        letter: Letter,
        monkeypatch: pytest.MonkeyPatch,
        count_round_trips: Count,  # noqa: F811
    ) -> None:
        """Between the check and the save nobody writes. Without a precondition nobody waits."""
        etag = letters.get(letter.pk).headers["ETag"]
        monkeypatch.setitem(connections[letters.db].settings_dict, "ATOMIC_REQUESTS", True)
        locks = []
        for headers in ({"if_match": etag}, {}):
            with count_round_trips() as costs:
                assert letters("PATCH", letter.pk, {"words": 1}, **headers).status_code == 200
            locks.append(any("FOR UPDATE" in statement for statement in costs.sql))
        assert locks == [letters.db == "default", False]

    def test_a_row_that_can_not_be_locked_is_read(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        item = Item.objects.using(api.db).create(name="seen")
        item.labels.add(Label.objects.using(api.db).create(name="seen"))
        api.serves(Item, lambda view: Item.objects.using(api.db).filter(labels__name="seen").distinct())
        etag = api.get(item.pk).headers["ETag"]
        monkeypatch.setitem(connections[api.db].settings_dict, "ATOMIC_REQUESTS", True)
        assert api("PATCH", item.pk, {"stock": 1}, if_match=etag).status_code == 200

    def test_a_refusal_rolls_back(self, api: Api, letter: Letter, monkeypatch: pytest.MonkeyPatch) -> None:
        def get_queryset(view: Any) -> Any:
            Letter.objects.using(api.db).filter(pk=letter.pk).update(subject="visited")
            return Letter.objects.using(api.db)

        api.serves(Letter, get_queryset)
        monkeypatch.setitem(connections[api.db].settings_dict, "ATOMIC_REQUESTS", True)
        assert api("PATCH", letter.pk, {"words": 1}, if_match='"x"').status_code == 412
        assert Letter.objects.using(api.db).get(pk=letter.pk).subject == "hello"

    def test_options_have_none(self, letters: Api, letter: Letter) -> None:
        response = letters("OPTIONS", letter.pk, if_match='"x"', if_none_match="*")
        assert response.status_code == 200
        assert "PUT" in response.data["actions"]


class LetterSet(CacheAsideViewMixin, viewsets.ModelViewSet[Letter]):
    """A viewset with an action of its own."""

    queryset = Letter.objects.all()
    serializer_class = serializer_of(Letter)
    authentication_classes = ()
    renderer_classes = (renderers.JSONRenderer,)

    @action(detail=True, methods=["get", "post"])
    def length(self, request: Any, pk: str) -> Response:
        """More than the row: it depends on the clock, say."""
        return Response(self.get_serializer(self.get_object()).data)


class TestViewSet:
    @pytest.fixture
    def letter_set(self, api: Api) -> Api:
        router = routers.SimpleRouter()
        kind = type("Set", (LetterSet,), {"get_queryset": lambda view: Letter.objects.using(api.db)})
        router.register("letters", kind, basename="letter")
        api.at(path("", include(router.urls)))
        return api

    def test_is_served(self, letter_set: Api, letter: Letter) -> None:
        url = f"/letters/{letter.pk}/"
        first = letter_set.get(url)
        assert status(letter_set.get(url, if_none_match=first.headers["ETag"])) == HIT
        assert letter_set.get(url, if_none_match=first.headers["ETag"]).status_code == 304
        assert letter_set("PATCH", url, {"words": 2}, if_match=first.headers["ETag"]).status_code == 200
        assert letter_set("DELETE", url, if_match=first.headers["ETag"]).status_code == 412

    def test_an_extra_action_is_another_resource(self, letter_set: Api, letter: Letter) -> None:
        """Its row is served, and what it makes of it is its own: no ETag, no preconditions."""
        warm(letter)
        url = f"/letters/{letter.pk}/length/"
        for headers in ({}, {"if_none_match": "*"}, {"if_match": '"x"'}):
            response = letter_set.get(url, **headers)
            assert (response.status_code, status(response), "ETag" in response.headers) == (200, HIT, False)
        assert letter_set("POST", url, if_match='"x"').status_code == 200

    def test_a_viewset_is_routed_as_without_the_mixin(self) -> None:
        read_only = type("ReadOnly", (CacheAsideViewMixin, viewsets.ReadOnlyModelViewSet), {})
        assert not hasattr(read_only, "update")
        assert not hasattr(read_only, "destroy")


class TestList:
    def serve(self, api: Api, rows: Callable[[Any], Any], model: Any = Letter, **attributes: Any) -> None:
        view = view_of(model, rows, generics.ListCreateAPIView, pagination_class=None, **attributes)
        api.at(path("all/", view.as_view()))

    @pytest.fixture
    def three(self, api: Api, user: User) -> list[int]:
        """By their words, ascending."""
        made = [
            Letter.objects.using(api.db).create(owner=user, slug=f"three-{next(_numbers)}", words=words)
            for words in (2, 3, 1)
        ]
        return [one.pk for one in sorted(made, key=lambda one: one.words)]

    def test_is_served_where_it_is_declared(
        self,
        api: Api,
        user: User,
        three: list[int],
        count_round_trips: Count,  # noqa: F811
    ) -> None:
        self.serve(api, lambda view: Letter.objects.using(api.db).filter(owner=user).order_by("words"))
        assert [status(api.get("/all/")) for _ in range(2)] == [MISS, MISS]  # the key, then the rows
        with count_round_trips() as costs:
            response = api.get("/all/")
        assert ([row["id"] for row in response.data], status(response), costs.sql) == (three, HIT, [])
        assert "ETag" not in response.headers

    def test_is_new_after_a_write(self, api: Api, user: User, three: list[int]) -> None:
        self.serve(api, lambda view: Letter.objects.using(api.db).filter(owner=user).order_by("words"))
        api.get("/all/")
        Letter.objects.using(api.db).filter(pk=three[0]).update(words=9)
        assert [row["id"] for row in api.get("/all/").data] == [*three[1:], three[0]]

    def test_is_sorted_as_django_sorts_it(self, api: Api, user: User, three: list[int]) -> None:
        """Not as the ``Listing`` says: the model's own order, descending, holds for ``objects``."""
        self.serve(api, lambda view: LetterProxy.objects.using(api.db).filter(owner=user), LetterProxy)
        for _ in range(2):
            assert [row["id"] for row in api.get("/all/").data] == three[::-1]

    @pytest.mark.parametrize("rows", [lambda all_: all_.filter(words__gt=1), lambda all_: all_.exclude(words=1)])
    def test_is_djangos_otherwise(self, api: Api, user: User, three: list[int], rows: Any) -> None:
        self.serve(api, lambda view: rows(Letter.objects.using(api.db).filter(owner=user)))
        response = api.get("/all/")
        assert ({row["id"] for row in response.data}, status(response)) == (set(three[1:]), BYPASS)

    def test_is_left_to_the_paginator(self, api: Api, user: User, three: list[int]) -> None:
        kind = type("Two", (pagination.PageNumberPagination,), {"page_size": 2})
        rows = lambda view: Letter.objects.using(api.db).filter(owner=user).order_by("words")  # noqa: E731
        api.at(path("all/", view_of(Letter, rows, generics.ListAPIView, pagination_class=kind).as_view()))
        response = api.get("/all/")
        assert ([row["id"] for row in response.data["results"]], response.data["count"]) == (three[:2], 3)
        assert status(response) == NOT_ASKED

    def test_a_creation_is_no_read(self, api: Api) -> None:
        self.serve(api, lambda view: Sign.objects.all(), Sign)
        response = api("POST", "/all/", {"code": f"made {next(_numbers)}"})
        assert (response.status_code, status(response)) == (201, NOT_ASKED)


class TestCacheStatus:
    def test_is_on_every_answer(self, letters: Api, letter: Letter) -> None:
        etag = letters.get(letter.pk).headers["ETag"]
        expected = [
            ("GET", letter.pk, None, {}, 200, HIT),
            ("HEAD", letter.pk, None, {}, 200, HIT),
            ("GET", letter.pk, None, {"if_none_match": etag}, 304, HIT),
            ("GET", letter.pk, None, {"if_match": '"x"'}, 412, HIT),
            ("GET", letter.pk, None, {"accept": "text/html"}, 406, NOT_ASKED),
            ("GET", "x", None, {}, 404, NOT_ASKED),
            ("POST", letter.pk, {}, {}, 405, NOT_ASKED),
            ("PATCH", letter.pk, {"words": "many"}, {}, 400, METHOD),
            ("PATCH", letter.pk, {"words": 1}, {"if_match": '"x"'}, 412, METHOD),
            ("PATCH", letter.pk, {"words": 1}, {}, 200, METHOD),
            ("DELETE", letter.pk, None, {}, 204, METHOD),
            ("GET", letter.pk, None, {}, 404, "CacheAside; fwd=miss; stored"),
        ]
        for method, pk, data, headers, code, told in expected:
            response = letters(method, pk, data, **headers)
            assert (response.status_code, status(response)) == (code, told), (method, pk, headers)

    def test_of_options_is_that_of_the_reads_it_takes(self, letters: Api, letter: Letter) -> None:
        warm(letter)
        assert status(letters("OPTIONS", letter.pk)) == HIT

    def test_says_stored_of_what_was_stored(self, api: Api, letter: Letter, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not in a transaction that has written: it may see what nobody else may see yet."""

        def get_queryset(view: Any) -> Any:
            Sign.objects.using(api.db).create(code=f"written {next(_numbers)}")
            return Letter.objects.using(api.db)

        api.serves(Letter, get_queryset)
        monkeypatch.setitem(connections[api.db].settings_dict, "ATOMIC_REQUESTS", True)
        for _ in range(2):
            assert status(api.get(letter.pk)) == ("CacheAside; fwd=miss" if api.db == "default" else BYPASS)

    @pytest.mark.parametrize(
        ("ways", "events", "told"),
        [
            ([Way.NOT_ASKED], [], {"detail": "not-asked"}),
            ([Way.CACHE], [], {"detail": "not-asked"}),
            ([Way.CACHE], [Event.HIT, Event.HIT], {"hit": True}),
            ([Way.CACHE], [Event.HIT, Event.NEGATIVE_HIT], {"hit": True}),
            ([Way.CACHE], [Event.MISS, Event.SHARED], {"fwd": "miss", "collapsed": True}),
            ([Way.CACHE], [Event.HIT, Event.MISS, Event.FILL], {"fwd": "miss", "stored": True}),
            ([Way.CACHE], [Event.BYPASS, Event.DATABASE_READ], {"fwd": "bypass", "detail": "commit-open"}),
            ([Way.CACHE], [Event.BYPASS, Event.OTHER_COLUMNS], {"fwd": "bypass", "detail": "other-columns"}),
            ([Way.CACHE], [Event.SHARED], {"fwd": "bypass", "detail": "unreachable"}),
            ([Way.CACHE], [Event.STALE_HIT], {"hit": True, "detail": "stale"}),
            ([Way.CACHE], [Event.STALE_HIT, Event.HIT, Event.REFRESH, Event.FILL], {"fwd": "stale"}),
            ([Way.CACHE], [Event.NEAR_HIT], {"hit": True}),
            ([Way.NOT_ASKED], [Event.CIRCUIT_OPEN, Event.OVERLOADED], {"detail": "overloaded"}),
            ([Way.CACHE], [Event.HIT, Event.OVERLOADED], {"detail": "overloaded"}),
            ([Way.BYPASS, Way.CACHE], [Event.HIT], {"fwd": "bypass"}),
            ([Way.METHOD, Way.BYPASS], [Event.HIT], {"fwd": "method"}),
        ],
    )
    def test_tells_the_worst_of_what_happened(self, ways: list[Way], events: list[Event], told: Any) -> None:
        reads = Reads()
        for way in ways:
            reads.went(way)
        for event in events:
            reads.tally.add(event)
        assert reads.parameters() == told

    def test_comes_behind_those_that_are_nearer_to_the_origin(self, api: Api, letter: Letter) -> None:
        def retrieve(view: Any, request: Any, *args: Any, **kwargs: Any) -> Response:
            data = view.get_serializer(view.get_object()).data
            return Response(data, headers={"Cache-Status": "Own; hit"})

        api.serves(Letter, lambda view: Letter.objects.using(api.db), retrieve=retrieve)
        warm(letter)
        assert status(api.get(letter.pk)) == f"Own; hit, {HIT}"

    def test_has_the_name_that_the_view_gives(self, api: Api, letter: Letter) -> None:
        warm(letter)
        api.serves(Letter, lambda view: Letter.objects.using(api.db), cache_status_name="rows of example.com")
        assert status(api.get(letter.pk)) == '"rows of example.com"; hit'

    def test_can_be_switched_off(self, api: Api, letter: Letter) -> None:
        api.serves(Letter, lambda view: Letter.objects.using(api.db), cache_status_name=None)
        assert "Cache-Status" not in api.get(letter.pk).headers

    @pytest.mark.parametrize(
        ("name", "written"),
        [("CacheAside", "CacheAside"), ("*a/b:c", "*a/b:c"), ("9", '"9"'), ("", '""'), ('a"b\\', '"a\\"b\\\\"')],
    )
    def test_is_a_structured_field(self, name: str, written: str) -> None:
        assert member(name, {"fwd": "miss", "stored": True}) == f"{written}; fwd=miss; stored"

    @pytest.mark.parametrize("name", ["Zürich", "a\nb", "\x7f"])
    def test_refuses_a_name_that_no_header_holds(self, name: str) -> None:
        with pytest.raises(ValueError, match="printable ASCII"):
            member(name, {})

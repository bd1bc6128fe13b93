"""``cached`` means what ``objects`` means, and whatever it can't serve is Django's own answer."""

from __future__ import annotations

import asyncio
import copy
import pickle
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections, models, transaction
from django.db.models import F, Model, QuerySet, Value
from django.db.models.fields.files import FieldFile
from django.db.models.functions import Upper
from django.db.models.signals import post_init, pre_init
from django.db.transaction import TransactionManagementError
from django.shortcuts import get_object_or_404
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_cacheaside.engine.tally import Event
from django_cacheaside.models import CacheAsideManager, CachedManager
from django_cacheaside.orm.registry import registry
from tests.app.catalog import (
    Article,
    Attachment,
    Book,
    Cafe,
    Country,
    Detail,
    Doc,
    Flag,
    Genre,
    Item,
    ItemProxy,
    Maker,
    Parcel,
    Pet,
    Seat,
    Serial,
    Truck,
    Uncounted,
)
from tests.orm.world import Elsewhere, Server, ident, name, number

pytestmark = pytest.mark.usefixtures("databases")

ABSENT = 2**40


@contextmanager
def selects(alias: str, expected: int) -> Iterator[None]:
    """The block sends so many statements to the database."""
    with CaptureQueriesContext(connections[alias]) as queries:
        yield
    assert len(queries) == expected, [query["sql"] for query in queries]


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call returns, or the type and message of what it raises."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return type(error), str(error)


def hit(manager: Any, **lookup: Any) -> Any:
    """A row that surely comes from the cache."""
    manager.get(**lookup)
    with selects(manager._db or "default", 0):
        return manager.get(**lookup)


@pytest.fixture
def item(db_alias: str) -> Item:
    return Item.objects.using(db_alias).create(name=name(), data={"list": [1]})


@pytest.fixture
def cached(db_alias: str) -> Any:
    return Item.cached.db_manager(db_alias)


class TestGet:
    @pytest.mark.parametrize("lookup", ["pk", "id", "pk__exact", "id__exact"])
    @pytest.mark.parametrize("spelt", [int, str], ids=["number", "as-in-a-url"])
    def test_serves_by_primary_key(self, cached: Any, item: Item, lookup: str, spelt: Any) -> None:
        assert hit(cached, **{lookup: spelt(item.pk)}) == item

    @pytest.mark.parametrize(
        ("model", "made", "lookups"),
        [
            pytest.param(Parcel, lambda db: {"id": uuid.uuid4()}, ["pk", "id"], id="uuid"),
            pytest.param(Country, lambda db: {"code": name() * 20}, ["pk", "code"], id="long-text"),
            pytest.param(Country, lambda db: {"code": "#" + name()}, ["pk", "code"], id="text-with-a-hash"),
            pytest.param(Country, lambda db: {"code": "Ünï🙂 {a} %s\r\n" + name()}, ["pk", "code"], id="unicode"),
            pytest.param(Serial, lambda db: {"number": -number()}, ["pk", "number"], id="negative"),
            pytest.param(Cafe, lambda db: {"name": "child"}, ["pk", "venue_ptr", "venue_ptr_id"], id="child"),
            pytest.param(Truck, lambda db: {"name": "child"}, ["pk", "vehicle_ptr_id"], id="child-of-a-cached"),
            pytest.param(
                Detail, lambda db: {"item": Item.objects.using(db).create()}, ["pk", "item", "item_id"], id="one-to-one"
            ),
            pytest.param(
                Flag,
                lambda db: {"country": Country.objects.using(db).create(code=name())},
                ["pk", "country_id"],
                id="one-to-one-of-a-text",
            ),
            pytest.param(ItemProxy, lambda db: {"name": "proxy"}, ["pk", "id"], id="proxy"),
        ],
    )
    def test_serves_every_kind_of_key(
        self, db_alias: str, model: Any, made: Callable[[str], dict[str, Any]], lookups: list[str]
    ) -> None:
        row = model.objects.using(db_alias).create(**made(db_alias))
        for lookup in lookups:
            served = hit(model.cached.db_manager(db_alias), **{lookup: row.pk})
            assert served == row
            assert type(served) is model

    def test_proxies_share_the_row(self, cached: Any, db_alias: str, item: Item) -> None:
        hit(cached, pk=item.pk)
        with selects(db_alias, 0):
            assert type(ItemProxy.cached.using(db_alias).get(pk=item.pk)) is ItemProxy
            assert type(cached.get(pk=item.pk)) is Item

    def test_composite_keys_are_read_from_the_database(self, db_alias: str) -> None:
        seat = Seat.objects.using(db_alias).create(row=number(), place=2)
        for _ in range(2):
            with selects(db_alias, 1):
                assert Seat.cached.using(db_alias).get(pk=seat.pk) == seat

    @pytest.mark.parametrize(
        "odd",
        [
            pytest.param(value, id=repr(value))
            for value in (
                *(
                    "abc",
                    None,
                    1.5,
                    True,
                    False,
                    -1,
                    0,
                    2**31,
                    2**63,
                    2**70,
                    -(2**70),
                    [1],
                    (1,),
                    {},
                    {1},
                    "",
                    "1 ",
                    " 1",
                ),
                *("+1", "-1", "1_0", "١", "1.0", "1e3", "0x1", "9" * 40, b"1", 1 + 0j, float("nan"), float("inf")),
                *(F("stock"), Value("x"), Upper(Value("1")), object, range(1)),
            )
        ],
    )
    @pytest.mark.parametrize("model", [Item, Country, Parcel])
    def test_says_what_objects_says_to_odd_values(self, db_alias: str, model: Any, odd: Any) -> None:
        """Twice: neither a miss nor what it leaves behind may change the answer."""
        expected = outcome(QuerySet(model).using(db_alias).get, pk=odd)
        for _ in range(2):
            assert outcome(model.cached.using(db_alias).get, pk=odd) == expected
            assert outcome(model.cached.db_manager(db_alias).get, pk=odd) == expected

    @pytest.mark.parametrize("odd", ["\ud800", "a\0b", "x" * 10_000, "12345678-1234-1234-1234-12345678", "{%s}"])
    @pytest.mark.parametrize("model", [Country, Parcel])
    def test_says_what_objects_says_to_odd_texts(self, db_alias: str, model: Any, odd: str) -> None:
        """A lone surrogate comes by JSON: it must not open the circuit either."""
        expected = outcome(QuerySet(model).using(db_alias).get, pk=odd)
        for _ in range(2):
            assert outcome(model.cached.using(db_alias).get, pk=odd) == expected
        outcome(lambda: model.objects.using(db_alias).filter(pk=odd).update(name="x"))
        country = Country.objects.using(db_alias).create(code=name())
        assert hit(Country.cached.db_manager(db_alias), pk=country.pk) == country

    def test_by_an_instance(self, cached: Any, item: Item, db_alias: str) -> None:
        detail = Detail.objects.using(db_alias).create(item=item)
        assert Detail.cached.using(db_alias).get(item=item) == detail
        assert outcome(cached.get, pk=item) == outcome(QuerySet(Item).using(db_alias).get, pk=item)

    def test_a_boolean_is_a_number_to_django(self, cached: Any, db_alias: str) -> None:
        assert outcome(cached.get, pk=True) == outcome(cached.get, pk=1)

    def test_a_missing_row(self, cached: Any, db_alias: str) -> None:
        """The knowledge is kept; INSERT ends it."""
        free = number()
        for expected in (1, 0):
            with (
                selects(db_alias, expected),
                pytest.raises(Item.DoesNotExist, match=r"^Item matching query does not exist\.$"),
            ):
                cached.get(pk=free)
        item = Item.objects.using(db_alias).create(pk=free)
        assert cached.get(pk=free) == item

    def test_a_missing_row_of_a_model_that_keeps_none(self, db_alias: str) -> None:
        """``negative_ttl = 0``: every read asks the database."""
        free = number()
        for _ in range(2):
            with selects(db_alias, 1), pytest.raises(Uncounted.DoesNotExist):
                Uncounted.cached.using(db_alias).get(pk=free)

    def test_a_missing_row_is_forgotten(self, db_alias: str, cached: Any, server: Server) -> None:
        """It lives for ``NEGATIVE_TTL`` and its jitter, not for ``TTL``."""
        with pytest.raises(Item.DoesNotExist):
            cached.get(pk=ABSENT)
        assert 0 < server.ttl_ms(Item, db_alias, ABSENT) <= 11_000

    def test_of_a_proxy_raises_its_own_error(self, db_alias: str) -> None:
        with pytest.raises(ItemProxy.DoesNotExist, match=r"^ItemProxy matching"):
            ItemProxy.cached.using(db_alias).get(pk=ABSENT)

    def test_get_object_or_404(self, db_alias: str, cached: Any, item: Item) -> None:
        hit(cached, pk=item.pk)
        with selects(db_alias, 0):
            assert get_object_or_404(cached, pk=str(item.pk)) == item
            assert get_object_or_404(cached.all(), pk=item.pk) == item


class TestQuerySets:
    """Whatever narrows a queryset, or shapes its rows, goes to the database with Django's meaning."""

    @pytest.mark.parametrize(
        "shape",
        [
            pytest.param(lambda rows: rows, id="whole"),
            pytest.param(lambda rows: rows.all(), id="all"),
            pytest.param(lambda rows: rows.all().all(), id="all-all"),
            pytest.param(lambda rows: rows.using(rows.db), id="using"),
        ],
    )
    def test_a_whole_one_is_served(self, db_alias: str, item: Item, shape: Any) -> None:
        hit(Item.cached.db_manager(db_alias), pk=item.pk)
        with selects(db_alias, 0):
            assert shape(Item.cached.using(db_alias)).get(pk=item.pk) == item
            assert shape(Item.cached.using(db_alias)).in_bulk([item.pk]) == {item.pk: item}

    @pytest.mark.parametrize(
        "shape",
        [
            pytest.param(shape, id=title)
            for title, shape in {
                "filter": lambda rows: rows.filter(name="no such"),
                "filter-none": lambda rows: rows.filter(),
                "exclude": lambda rows: rows.exclude(stock=0),
                "none": lambda rows: rows.none(),
                "annotate": lambda rows: rows.annotate(loud=Upper("name")),
                "extra": lambda rows: rows.extra(select={"one": "1"}),
                "only": lambda rows: rows.only("name"),
                "defer": lambda rows: rows.defer("name"),
                "values": lambda rows: rows.values("name"),
                "values_list": lambda rows: rows.values_list("name", flat=True),
                "select_related": lambda rows: rows.select_related("maker"),
                "prefetch_related": lambda rows: rows.prefetch_related("labels"),
                "order_by": lambda rows: rows.order_by("name"),
                "distinct": lambda rows: rows.distinct(),
                "slice": lambda rows: rows[:1],
                "union": lambda rows: rows.union(rows),
                "reverse": lambda rows: rows.reverse(),
                "complex_filter": lambda rows: rows.complex_filter({"stock": 5}),
                "deep": lambda rows: rows.all().filter(stock=5).all().using(rows.db),
            }.items()
        ],
    )
    def test_a_narrowed_one_is_django_s(self, db_alias: str, item: Item, shape: Any) -> None:
        hit(Item.cached.db_manager(db_alias), pk=item.pk)
        mine, django = (shape(rows) for rows in (Item.cached.using(db_alias), Item.plain.using(db_alias)))

        def answers(rows: Any) -> list[Any]:
            found = [outcome(rows.get, pk=item.pk), outcome(rows.in_bulk, [item.pk])]
            unlike = {"_state": None, "_prefetched_objects_cache": None}
            return [vars(one) | unlike if isinstance(one, Model) else one for one in found]

        assert answers(mine) == answers(django)

    def test_select_for_update_asks_the_database(self, item: Item, db_alias: str, cached: Any) -> None:
        hit(cached, pk=item.pk)
        with transaction.atomic(using=db_alias), selects(db_alias, 1):
            assert cached.select_for_update().get(pk=item.pk) == item

    @pytest.mark.parametrize(
        "lookup",
        [
            pytest.param({"pk__in": [1]}, id="pk__in"),
            pytest.param({"pk__gt": 0}, id="pk__gt"),
            pytest.param({"name": "no such"}, id="name"),
            pytest.param({"pk": 1, "name": "no such"}, id="pk-and-name"),
            pytest.param({"nonsense": 1}, id="no-field"),
            pytest.param({"pk__nonsense": 1}, id="no-lookup"),
            pytest.param({}, id="nothing"),
        ],
    )
    def test_other_lookups_are_django_s(self, db_alias: str, item: Item, lookup: dict[str, Any]) -> None:
        Item.objects.using(db_alias).create()
        mine, django = (outcome(rows.using(db_alias).get, **lookup) for rows in (Item.cached, Item.plain))
        assert mine == django

    def test_positional_arguments_are_django_s(self, cached: Any, item: Item) -> None:
        assert cached.get(models.Q(pk=item.pk)) == item
        with pytest.raises(Item.DoesNotExist):
            cached.get(models.Q(name="no such"), pk=item.pk)

    def test_a_narrowed_in_bulk_leaves_out_what_does_not_match(self, cached: Any, item: Item) -> None:
        cached.get(pk=item.pk)
        assert cached.filter(name="no such").in_bulk([item.pk]) == {}


class TestInBulk:
    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(ask, id=title)
            for title, ask in {
                "nothing": lambda pks: [],
                "numbers": lambda pks: pks,
                "duplicates": lambda pks: [*pks, *pks],
                "texts": lambda pks: [str(pk) for pk in pks],
                "both": lambda pks: [pks[0], str(pks[0])],
                "missing": lambda pks: [*pks, ABSENT],
                "None-among-them": lambda pks: [None, *pks],
                "odd": lambda pks: ["abc", *pks],
                "floats": lambda pks: [float(pks[0])],
                "nested": lambda pks: [pks],
                "instances": lambda pks: [Item(pk=pks[0])],
                "out-of-range": lambda pks: [2**70, *pks],
                "tuple": lambda pks: tuple(pks),
                "set": lambda pks: set(pks),
                "generator": lambda pks: (pk for pk in pks),
                "dict": lambda pks: dict.fromkeys(pks),
                "no-iterable": lambda pks: 5,
            }.items()
        ],
    )
    def test_is_that_of_objects(self, db_alias: str, ask: Any) -> None:
        pks = [item.pk for item in Item.objects.using(db_alias).bulk_create([Item(), Item(), Item()])]
        expected = outcome(Item.plain.using(db_alias).in_bulk, ask(pks))
        for _ in range(2):
            assert outcome(Item.cached.using(db_alias).in_bulk, ask(pks)) == expected

    def test_is_one_statement_for_what_is_missed(self, db_alias: str, cached: Any) -> None:
        pks = [item.pk for item in Item.objects.using(db_alias).bulk_create([Item() for _ in range(30)])]
        cached.in_bulk(pks[:10])
        for expected in (1, 0):
            with selects(db_alias, expected):
                assert list(cached.in_bulk([*pks, ABSENT + 1])) == pks

    @pytest.mark.parametrize("field", ["pk", "id", "slug", "name", "nonsense"])
    def test_by_a_field(self, db_alias: str, item: Item, field: str) -> None:
        wanted = [getattr(item, field, None)]
        mine, django = (
            outcome(rows.using(db_alias).in_bulk, wanted, field_name=field) for rows in (Item.cached, Item.plain)
        )
        assert mine == django

    def test_of_all(self, db_alias: str) -> None:
        Article.objects.using(db_alias).create()
        assert Article.cached.using(db_alias).in_bulk() == QuerySet(Article).using(db_alias).in_bulk()

    def test_of_a_text_is_of_its_characters(self, db_alias: str) -> None:
        Country.objects.using(db_alias).get_or_create(code="ä")
        assert list(Country.cached.using(db_alias).in_bulk("äö")) == ["ä"]


def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Await a call, from here."""

    async def call() -> Any:
        return await function(*args, **kwargs)

    return async_to_sync(call)()


class TestAsync:
    def test_aget_and_ain_bulk_are_served(self, db_alias: str, item: Item, cached: Any) -> None:
        hit(cached, pk=item.pk)

        async def read() -> Any:
            return await cached.aget(pk=item.pk), await cached.using(db_alias).ain_bulk([item.pk])

        with selects(db_alias, 0):
            assert async_to_sync(read)() == (item, {item.pk: item})

    def test_aget_of_a_missing_row(self, cached: Any) -> None:
        with pytest.raises(Item.DoesNotExist, match=r"^Item matching query"):
            run(cached.aget, pk=ABSENT)

    def test_a_coroutine_sees_what_its_thread_has_written(self, db_alias: str, item: Item, cached: Any) -> None:
        """Hit or bypass is decided in the thread whose transaction is open."""
        hit(cached, pk=item.pk)
        with transaction.atomic(using=db_alias):
            Item.objects.using(db_alias).filter(pk=item.pk).update(name="new")
            assert run(cached.aget, pk=item.pk).name == "new"
            assert run(cached.ain_bulk, [item.pk])[item.pk].name == "new"

    @pytest.mark.parametrize("read", ["get", "in_bulk"])
    def test_a_read_that_blocks_is_refused_in_an_event_loop(self, item: Item, cached: Any, read: str) -> None:
        """As every read of Django's: it would stop the loop for the round trip, and on a miss for the database."""
        hit(cached, pk=item.pk)

        async def block() -> Any:
            return cached.get(pk=item.pk) if read == "get" else cached.in_bulk([item.pk])

        with pytest.raises(SynchronousOnlyOperation, match=r"aget\(\)"):
            async_to_sync(block)()

    def test_reads_at_once_in_one_loop(self, db_alias: str, item: Item, elsewhere: Elsewhere) -> None:
        """In a loop of its own, in a thread of its own."""

        async def read() -> list[Any]:
            get = Item.cached.using(db_alias).aget
            found = await asyncio.gather(*(get(pk=item.pk) for _ in range(5)))
            await sync_to_async(connections.close_all)()
            return found

        assert elsewhere(asyncio.run, read()) == [item] * 5


class TestManagers:
    @pytest.mark.parametrize(("ours", "own"), [(CacheAsideManager, set()), (CachedManager, {"prefetch", "aprefetch"})])
    def test_have_no_public_method_of_their_own(self, ours: type[Any], own: set[str]) -> None:
        """The default manager least of all."""
        public = {attribute for attribute in dir(ours) if not attribute.startswith("_")}
        assert public - own == {attribute for attribute in dir(models.Manager) if not attribute.startswith("_")}
        assert own <= public

    def test_objects_is_the_default(self) -> None:
        assert type(Item._default_manager) is CacheAsideManager
        assert type(Item._base_manager) is models.Manager
        assert Item._default_manager.name == "objects"

    def test_objects_reads_the_database(self, db_alias: str, item: Item, cached: Any) -> None:
        hit(cached, pk=item.pk)
        with selects(db_alias, 2):
            assert Item.objects.using(db_alias).get(pk=item.pk) == item
            assert Item.objects.using(db_alias).in_bulk([item.pk]) == {item.pk: item}

    def test_of_a_subclass_that_hides_rows(self, db_alias: str) -> None:
        """The rows are there for another manager, and hidden to this one."""
        pet = Pet.objects.using(db_alias).create(is_deleted=True)
        hit(Pet.everything.db_manager(db_alias), pk=pet.pk)
        assert outcome(Pet.cached.using(db_alias).get, pk=pet.pk)[0] is Pet.DoesNotExist
        assert outcome(Pet.cached.db_manager(db_alias).get, pk=pet.pk)[0] is Pet.DoesNotExist
        assert Pet.cached.using(db_alias).in_bulk([pet.pk]) == {}
        assert Pet.cached.db_manager(db_alias).in_bulk([pet.pk]) == {}

    def test_of_a_queryset_with_its_own_get(self, db_alias: str) -> None:
        """The manager's short way to a hit must not go past it."""
        pet = Pet.objects.using(db_alias).create()
        guarded = Pet.guarded.db_manager(db_alias)
        with pytest.raises(PermissionError):
            guarded.get(pk=pet.pk)
        assert guarded.get(pk=pet.pk, password="please") == pet
        with selects(db_alias, 0):
            assert guarded.get(pk=pet.pk, password="please") == pet

    def test_of_relations_keep_to_them(self, db_alias: str) -> None:
        """``objects = CachedManager()`` makes the related manager one too."""
        mine, other = (Genre.objects.using(db_alias).create() for _ in range(2))
        book = Book.objects.using(db_alias).create(genre=mine)
        book.more_genres.add(mine)
        assert hit(Book.objects.db_manager(db_alias), pk=book.pk) == book
        for relation in ("book_set", "more_books"):
            assert getattr(mine, relation).get(pk=book.pk) == book
            assert getattr(mine, relation).in_bulk([book.pk]) == {book.pk: book}
            foreign = getattr(other, relation)
            for rows in (foreign, foreign.all(), foreign.using(db_alias), foreign.all().all()):
                with pytest.raises(Book.DoesNotExist):
                    rows.get(pk=book.pk)
                assert rows.in_bulk([book.pk]) == {}

    def test_of_prefetched_relations_keep_to_them(self, db_alias: str) -> None:
        mine, other = (Genre.objects.using(db_alias).create() for _ in range(2))
        book = Book.objects.using(db_alias).create(genre=mine)
        hit(Book.objects.db_manager(db_alias), pk=book.pk)
        genres = {genre.pk: genre for genre in Genre.objects.using(db_alias).prefetch_related("book_set")}
        with pytest.raises(Book.DoesNotExist):
            genres[other.pk].book_set.get(pk=book.pk)
        assert list(genres[mine.pk].book_set.all()) == [book]


class TestInstances:
    """What a hit returns is what ``objects.get`` returns."""

    def test_has_django_s_state(self, db_alias: str, item: Item, cached: Any) -> None:
        served, loaded = hit(cached, pk=item.pk), Item.plain.using(db_alias).get(pk=item.pk)
        assert (served._state.db, served._state.adding) == (db_alias, False)
        assert served._state.fields_cache == {}
        assert served.get_deferred_fields() == set()
        assert list(served.__dict__) == list(loaded.__dict__)
        assert served.__dict__ | {"_state": None} == loaded.__dict__ | {"_state": None}
        state = vars(loaded._state)
        assert {attribute: getattr(served._state, attribute) for attribute in state} == state
        assert served == loaded
        assert hash(served) == hash(loaded)
        assert repr(served) == repr(loaded)

    @pytest.mark.parametrize(
        "copied", [pytest.param(lambda one: pickle.loads(pickle.dumps(one)), id="pickle"), copy.copy, copy.deepcopy]
    )
    @pytest.mark.filterwarnings("error")
    def test_can_be_copied(self, item: Item, cached: Any, copied: Any) -> None:
        served = hit(cached, pk=item.pk)
        twin = copied(served)
        assert twin == served
        assert twin.data == served.data
        assert twin._state is not served._state

    def test_share_no_mutable_value(self, item: Item, cached: Any) -> None:
        first, second = hit(cached, pk=item.pk), hit(cached, pk=item.pk)
        first.data["list"].append(2)
        assert second.data == {"list": [1]}
        assert hit(cached, pk=item.pk).data == {"list": [1]}

    def test_share_no_mutable_value_with_the_one_that_filled(self, item: Item, cached: Any) -> None:
        cached.get(pk=item.pk).data["list"].append(2)
        assert hit(cached, pk=item.pk).data == {"list": [1]}

    def test_can_be_saved_refreshed_and_deleted(self, db_alias: str, item: Item, cached: Any) -> None:
        served = hit(cached, pk=item.pk)
        served.name = "new"
        with selects(db_alias, 1):  # an UPDATE: it knows that it is no new row
            served.save()
        assert cached.get(pk=item.pk).name == "new"
        Item.plain.using(db_alias).filter(pk=item.pk).update(name="newer")
        served.refresh_from_db()
        assert served.name == "newer"
        served.delete()
        assert outcome(cached.get, pk=item.pk)[0] is Item.DoesNotExist

    def test_lead_to_related_rows(self, db_alias: str) -> None:
        maker = Maker.objects.using(db_alias).create(name=name())
        item = Item.objects.using(db_alias).create(maker=maker)
        served = hit(Item.cached.db_manager(db_alias), pk=item.pk)
        assert served.maker == maker
        assert served.maker._state.db == db_alias
        assert list(served.labels.all()) == []
        served.maker = None
        assert served.maker_id is None

    def test_of_a_model_with_its_own_from_db_and_init(self, db_alias: str) -> None:
        doc = Doc.objects.using(db_alias).create(name="as loaded", file="docs/a.txt")
        served = hit(Doc.cached.db_manager(db_alias), pk=doc.pk)
        assert served.name_as_loaded == "as loaded"
        assert served.is_initialised
        assert (served._state.db, served._state.adding) == (db_alias, False)
        assert isinstance(served.file, FieldFile)
        assert served.file.name == "docs/a.txt"

    def test_with_a_file(self, db_alias: str) -> None:
        """The descriptor makes a file of the text, as of one that was loaded."""
        attachment = Attachment.objects.using(db_alias).create(file="files/a.txt")
        served = hit(Attachment.cached.db_manager(db_alias), pk=attachment.pk)
        assert isinstance(served.file, FieldFile)
        assert (served.file.name, served.file.instance) == ("files/a.txt", served)
        assert served.file == attachment.file

    def test_of_a_child_have_the_parent_s_fields(self, db_alias: str) -> None:
        cafe = Cafe.objects.using(db_alias).create(name="parent's", seats=4)
        served = hit(Cafe.cached.db_manager(db_alias), pk=cafe.pk)
        assert (served.name, served.seats, served.id) == ("parent's", 4, cafe.pk)
        with selects(db_alias, 0):  # Django makes it of the child's own fields
            assert served.venue_ptr.name == "parent's"

    @pytest.mark.parametrize("signal", [pre_init, post_init], ids=["pre_init", "post_init"])
    def test_receivers_hear_of_them(self, item: Item, cached: Any, signal: Any) -> None:
        heard = []

        def receiver(sender: type[Model], **_: Any) -> None:
            heard.append(sender)

        hit(cached, pk=item.pk)
        signal.connect(receiver, sender=Item)
        try:
            cached.get(pk=item.pk)
        finally:
            signal.disconnect(receiver, sender=Item)
        assert heard == [Item]
        cached.get(pk=item.pk)
        assert heard == [Item]


class TestDatabases:
    def test_one_pk_in_two_databases(self) -> None:
        """Each database has its own keys."""
        free = number()
        for alias in ("default", "sqlite"):
            Item.objects.using(alias).create(pk=free, name=alias)
        for alias in ("default", "sqlite"):
            served = hit(Item.cached.db_manager(alias), pk=free)
            assert (served.name, served._state.db) == (alias, alias)
        Item.objects.using("sqlite").filter(pk=free).update(name="new")
        with selects("default", 0):
            assert Item.cached.get(pk=free).name == "default"
        assert Item.cached.using("sqlite").get(pk=free).name == "new"

    def test_a_replica_is_read_as_it_is(self, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
        """It may lag: neither served nor filled."""
        item = Item.objects.create(name=name())
        hit(Item.cached, pk=item.pk)
        mirrored = connections["default"].settings_dict | {"TEST": {"MIRROR": "default"}}
        monkeypatch.setitem(connections.databases, "replica", mirrored)
        replica = connections.create_connection("replica")
        connections["replica"] = replica
        try:
            for _ in range(2):
                with selects("replica", 1):
                    assert Item.cached.using("replica").get(pk=item.pk) == item
            with selects("default", 0):
                assert Item.cached.get(pk=item.pk) == item
        finally:
            replica.close()
            del connections["replica"]

    def test_switched_off_reads_the_database_and_still_invalidates(
        self, db_alias: str, item: Item, cached: Any
    ) -> None:
        hit(cached, pk=item.pk)
        with override_settings(CACHEASIDE={"ENABLED": False}):
            with selects(db_alias, 2):
                assert cached.get(pk=item.pk) == item
                assert cached.in_bulk([item.pk]) == {item.pk: item}
            Item.objects.using(db_alias).filter(pk=item.pk).update(name="new")
        assert cached.get(pk=item.pk).name == "new"

    def test_a_broken_transaction_is_refused(self, db_alias: str, item: Item, cached: Any) -> None:
        """As Django refuses it, though the row is in the cache."""
        hit(cached, pk=item.pk)
        with transaction.atomic(using=db_alias):
            transaction.set_rollback(True, using=db_alias)
            for read in (cached.get, Item.plain.using(db_alias).get):
                with pytest.raises(TransactionManagementError):
                    read(pk=item.pk)

    def test_own_writes_are_counted_as_no_hit(self, item: Item, cached: Any, db_alias: str) -> None:
        hit(cached, pk=item.pk)
        counts = registry.for_model(Item).tally.counts
        with transaction.atomic(using=db_alias):
            item.save()
            before = counts[Event.HIT]
            assert cached.get(pk=item.pk) == item
            assert counts[Event.HIT] == before


def test_idents_are_those_of_the_keys(db_alias: str) -> None:
    """What ``world.ident`` says is what the server holds."""
    assert ident(Country, db_alias, "de") == "de"
    assert ident(Country, db_alias, "#de").startswith("#")
    assert ident(Country, db_alias, "#de") != "#de"
    assert ident(Item, db_alias, 7) == "7"

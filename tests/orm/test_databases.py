"""Which database an alias is: declared, mirrored, made by a test run, or by its name."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from django_cacheaside import conf
from django_cacheaside.engine.agreement import Announcement
from django_cacheaside.orm import databases, runtime
from django_cacheaside.orm.connection_state import state_of
from django_cacheaside.orm.databases import connection_of, identity, may_serve
from django_cacheaside.orm.fingerprint import announcements
from django_cacheaside.orm.reading import begin_reading
from tests.app.models import Product

pytestmark = pytest.mark.usefixtures("databases")

Add = Callable[..., BaseDatabaseWrapper]


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Add an alias like ``default``, configured under the name that it has."""
    added: list[str] = []

    def like_default(alias: str, **settings: Any) -> BaseDatabaseWrapper:
        monkeypatch.setitem(connections.settings, alias, copy.deepcopy(connections["default"].settings_dict) | settings)
        connection = connections[alias]
        monkeypatch.setitem(databases._configured, alias, settings.get("NAME", connection.settings_dict["NAME"]))
        added.append(alias)
        return connection

    yield like_default
    for alias in added:
        del connections[alias]


def declared(**identities: str) -> Any:
    return override_settings(CACHEASIDE={"DATABASES": identities})


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in production: ``default`` has the name that the settings gave it."""
    monkeypatch.setitem(databases._configured, "default", connections["default"].settings_dict["NAME"])


class TestConnectionOf:
    """It looks where Django's own handler keeps connections, and must find the same one."""

    def test_is_this_threads(self) -> None:
        mine = connections["default"]
        with ThreadPoolExecutor(1) as other:
            theirs = other.submit(lambda: (connection_of("default"), connections["default"])).result()
        assert connection_of("default") is mine
        assert theirs[0] is theirs[1] is not mine

    def test_is_what_was_put_there(self, add: Add) -> None:
        """As a live server's threads do, which share one database in memory."""
        add("mine")
        connections["mine"] = shared = connections["sqlite"]
        assert connection_of("mine") is shared

    def test_is_made_at_the_first_use(self, add: Add) -> None:
        add("mine")
        del connections["mine"]
        assert connection_of("mine").alias == "mine"

    def test_is_found_without_asking_asgiref(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else it would only be slower: nothing would tell that the shortcut leads nowhere."""
        mine = connections["default"]
        monkeypatch.setattr(type(connections), "__getitem__", None)
        assert connection_of("default") is mine

    def test_is_asked_for_where_asgiref_keeps_them_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        mine = connections["default"]
        monkeypatch.setattr(connections, "_connections", SimpleNamespace(default=mine))
        assert connection_of("default") is mine

    def test_an_event_loop_has_connections_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With DJANGO_ALLOW_ASYNC_UNSAFE, as a notebook has it: the thread's own is another one there."""
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        mine = connections["default"]

        async def is_refused() -> tuple[bool, bool]:
            loops = connections["default"]
            try:
                with transaction.atomic():
                    state_of(loops).is_snapshot = True
                    return loops is mine, begin_reading(Product, "default") is None
            finally:
                loops.close()

        assert begin_reading(Product, "default") is not None
        assert asyncio.run(is_refused()) == (False, True)


class TestIdentity:
    def test_is_the_name(self) -> None:
        assert identity(connections["default"]) == connections["default"].settings_dict["NAME"]

    def test_of_a_test_database_is_that_which_django_gave_it(self) -> None:
        """And so each worker of a test run in parallel has keys of its own: ``test_shop_gw0``, ``test_shop_gw1``."""
        assert identity(connections["default"]).startswith("test_cacheaside")
        assert databases.is_renamed(connections["default"])

    def test_is_what_is_declared(self, add: Add, configured: None) -> None:
        """A pooler's name for the same database."""
        pooled = add("pool", NAME="shop_pool")
        with declared(pool="shop", default="shop"):
            assert identity(pooled) == identity(connections["default"]) == "shop"

    def test_tells_two_databases_of_one_name_apart(self, add: Add, configured: None) -> None:
        other = add("us", HOST="us.example")
        assert identity(other) == identity(connections["default"])
        with declared(default="eu", us="us"):
            assert (identity(connections["default"]), identity(other)) == ("eu", "us")

    def test_of_a_declared_test_database_is_its_own(self, add: Add) -> None:
        with declared(default="shop"):
            assert identity(connections["default"]) == f"shop:{connections['default'].settings_dict['NAME']}"

    @pytest.mark.parametrize("worker", ["gw0", "gw1"])
    def test_of_parallel_test_databases_differs(self, worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connections["default"].settings_dict, "NAME", f"test_shop_{worker}")
        assert identity(connections["default"]) == f"test_shop_{worker}"
        with declared(default="shop"):
            assert identity(connections["default"]) == f"shop:test_shop_{worker}"

    def test_of_a_mirror_in_a_test_run_is_that_of_the_mirrored(self, add: Add) -> None:
        mirror = add("mirror", NAME="shop_pool", TEST={"MIRROR": "default"})
        mirror.settings_dict["NAME"] = connections["default"].settings_dict["NAME"]  # as Django does
        for identities in ({}, {"mirror": "shop"}, {"mirror": "shop", "default": "shop"}):
            with declared(**identities):
                assert identity(mirror) == identity(connections["default"])

    def test_of_a_database_in_memory_is_the_process_s(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connections["sqlite"].settings_dict, "NAME", "file:memorydb_x?mode=memory&cache=shared")
        with declared(sqlite="shop"):
            assert identity(connections["sqlite"]).startswith("memory-")

    def test_of_a_file_is_the_same_by_any_path(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        (tmp_path / "link").symlink_to(tmp_path)
        found = set()
        for name in (tmp_path / "a.sqlite3", str(tmp_path / "a.sqlite3"), tmp_path / "link" / "a.sqlite3"):
            monkeypatch.setitem(connections["sqlite"].settings_dict, "NAME", name)
            found.add(identity(connections["sqlite"]))
        assert len(found) == 1


class TestMayServe:
    def test_only_the_write_side_of_a_shared_database(self, add: Add, configured: None) -> None:
        add("pool", NAME="shop_pool")
        assert may_serve("pool", Product)
        with declared(pool="shop", default="shop"):
            assert may_serve("default", Product)
            assert not may_serve("pool", Product), "it may be a replica"

    def test_a_database_of_the_same_name_that_is_another_one(self, add: Add, configured: None) -> None:
        add("us", HOST="us.example")
        assert not may_serve("us", Product)
        with declared(default="eu", us="us"):
            assert may_serve("us", Product)

    def test_no_mirror(self, add: Add) -> None:
        add("mirror", NAME="other", TEST={"MIRROR": "default"})
        assert not may_serve("mirror", Product)


class TestSettings:
    @pytest.mark.parametrize(
        ("raw", "id", "says"),
        [
            ("default", "E003", "must be a dict"),
            ({"defualt": "shop"}, "E003", "Did you mean 'default'?"),
            ({"default": ""}, "E003", "1 to 64"),
            ({"default": 5}, "E003", "1 to 64"),
            ({"default": "a b"}, "E003", "1 to 64"),
            ({"default": "{shop}"}, "E003", "1 to 64"),
        ],
    )
    def test_refuse(self, raw: Any, id: str, says: str) -> None:  # noqa: A002
        (problem,) = conf.settings_problems({"DATABASES": raw})
        assert problem.id == f"cacheaside.{id}"
        assert says in f"{problem.message} {problem.hint}"

    def test_refuse_two_identities_of_one_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from django.conf import settings

        monkeypatch.setitem(settings.DATABASES, "twin", dict(settings.DATABASES["default"]))
        with override_settings(CACHEASIDE={"DATABASES": {"twin": "other"}}):
            with pytest.raises(ImproperlyConfigured, match="their addresses are the same"):
                conf.get_settings()
            (problem,) = conf.settings_problems({"DATABASES": {"twin": "other"}})
            assert problem.id == "cacheaside.E004"
        assert not list(conf.settings_problems({"DATABASES": {"twin": "other", "default": "other"}}))


def said(alias: str = "default", **settings: Any) -> list[Announcement]:
    """What this process would announce of a database, with other settings."""
    caches = settings.pop("CACHES", None)
    changed = {"CACHEASIDE": settings} | ({"CACHES": caches} if caches else {})
    with override_settings(**changed):
        current = runtime.current()
        return announcements(connections[alias], conf.get_alias(current.settings.CACHE), current.settings)


def meet(one: list[Announcement], other: list[Announcement]) -> bool:
    """Would two processes that announce this believe that their keys meet?"""
    marks: dict[str, set[str]] = {}
    for announcement in (*one, *other):
        marks.setdefault(announcement.record, set()).add(announcement.mark)
    return all(len(found) == 1 for found in marks.values())


def caches(**options: Any) -> dict[str, Any]:
    from django.conf import settings

    return {"default": {**settings.CACHES["default"], **options}}


class TestAnnouncements:
    @pytest.mark.parametrize(
        "others",
        [
            pytest.param({"CACHES": caches(KEY_PREFIX="other")}, id="prefix"),
            pytest.param({"CACHES": caches(VERSION=2)}, id="version"),
            pytest.param({"CACHES": caches(KEY_FUNCTION=lambda key, prefix, version: key)}, id="key-function"),
            pytest.param({"NAMESPACE": "tenant"}, id="namespace"),
            pytest.param({"DATABASES": {"default": "shop"}}, id="declared"),
        ],
    )
    def test_tell_keys_that_do_not_meet(self, configured: None, others: Any) -> None:
        assert meet(said(), said())
        assert not meet(said(), said(**dict(others)))

    @pytest.mark.parametrize(
        "same",
        [
            pytest.param({"NAMESPACE": "one"}, id="another-tenant"),
            pytest.param({"NAMESPACE": lambda: "one"}, id="callable"),
        ],
    )
    def test_let_each_have_its_namespace(self, same: Any) -> None:
        assert meet(said(NAMESPACE="two"), said(**same))

    def test_believe_those_who_both_declare(self, configured: None) -> None:
        """Two servers with databases of one name."""
        assert meet(said(DATABASES={"default": "eu"}), said(DATABASES={"default": "us"}))

    def test_tell_a_test_database_from_a_declared_one_of_its_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that a test starts, and that knows the test's database by its settings."""
        in_test = said(DATABASES={"default": "shop"})
        monkeypatch.setitem(databases._configured, "default", connections["default"].settings_dict["NAME"])
        assert not meet(in_test, said(DATABASES={"default": "shop"}))

    def test_are_not_made_of_a_database_in_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connections["sqlite"].settings_dict, "NAME", ":memory:")
        assert said("sqlite") == []

    def test_stand_under_a_key_that_no_prefix_changes(self) -> None:
        (one,), (other,) = said(), said(CACHES=caches(KEY_PREFIX="other", VERSION=9))
        assert one.record == other.record == f"cacheaside:{{postgresql/{identity(connections['default'])}}}"
        assert "KEY_PREFIX='other', VERSION=9" in other.text

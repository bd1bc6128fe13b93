"""``register`` and ``cached``: models that nobody can edit, and columns that stay out of Redis."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group, User
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_init, post_save
from django.shortcuts import get_object_or_404
from django.test import override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps

from django_cacheaside import checks
from django_cacheaside.models import CacheAsideMixin, CachedManager
from django_cacheaside.orm.net.wrapper import forget_plans
from django_cacheaside.orm.options import ModelOptions, read_options
from django_cacheaside.orm.register import cached, register
from django_cacheaside.orm.registry import registry
from django_cacheaside.orm.wiring import wire
from tests.app.catalog import Cafe, Detail, Doc, Item, ItemProxy, Seat, Stamped
from tests.orm.world import Elsewhere, Server, name, number

pytestmark = pytest.mark.usefixtures("databases")

Users = Callable[..., Any]


@pytest.fixture(autouse=True)
def _quick_hashes(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def given() -> Iterator[Callable[..., None]]:
    """Register a model for the length of a test."""
    made = []

    def give(model: type[Model], **options: Any) -> None:
        register(model, **options)
        made.append(model._meta.concrete_model or model)

    yield give
    for model in made:
        registry.remove(model)
        for signal in (post_save, post_delete):
            assert signal.disconnect(sender=model, dispatch_uid=f"django_cacheaside.{model._meta.label}")
    forget_plans()


@pytest.fixture
def users(given: Callable[..., None], db_alias: str) -> Users:
    """``cached(User)``, in each database."""
    given(User, ttl=60)
    return lambda: cached(User).db_manager(db_alias)


@pytest.fixture
def user(users: Users, db_alias: str) -> User:
    return User.objects.db_manager(db_alias).create_user(name(), email="a@example.org", password="s3cret")


async def aget(manager: Any, **lookup: Any) -> Any:
    """``aget``, for ``async_to_sync``."""
    return await manager.aget(**lookup)


def selects(alias: str, function: Callable[[], Any]) -> tuple[Any, int]:
    """What a function returns, and how many statements it sent."""
    with CaptureQueriesContext(connections[alias]) as queries:
        result = function()
    return result, len(queries)


class TestCached:
    def test_serves_by_primary_key(self, users: Users, user: User, db_alias: str) -> None:
        """One SELECT, then none: by ``get``, ``in_bulk``, their twins and ``get_object_or_404``."""
        assert selects(db_alias, lambda: users().get(pk=user.pk)) == (user, 1)
        for read in (
            lambda: users().get(pk=str(user.pk)),
            lambda: users().get(id=user.pk),
            lambda: users().using(db_alias).get(pk=user.pk),
            lambda: users().in_bulk([user.pk])[user.pk],
            lambda: async_to_sync(aget)(users(), pk=user.pk),
            lambda: get_object_or_404(users(), pk=user.pk),
        ):
            assert selects(db_alias, read) == (user, 0)

    def test_says_what_a_queryset_says_to_the_rest(self, users: Users, user: User, db_alias: str) -> None:
        assert users().get(username=user.username) == user
        assert list(users().filter(pk=user.pk).values_list("username", flat=True)) == [user.username]
        assert users().filter(pk=user.pk).only("password").get().password == user.password
        with pytest.raises(User.DoesNotExist, match=r"^User matching query does not exist\.$"):
            users().get(pk=number())

    def test_is_one_manager_per_model(self, users: Users) -> None:
        assert cached(User) is cached(User) is cached(get_user_model())
        assert type(cached(User)) is CachedManager

    @isolate_apps("tests.app")
    def test_of_a_proxy_gives_the_proxy(self, users: Users, user: User, db_alias: str) -> None:
        """They share the row; and each save of either is seen."""

        class Person(User):
            class Meta:
                app_label = "app"
                proxy = True

        users().get(pk=user.pk)
        served, sent = selects(db_alias, lambda: cached(Person).using(db_alias).get(pk=user.pk))
        assert (type(served), served.pk, sent) == (Person, user.pk, 0)
        served.first_name = "new"
        served.save()
        assert users().get(pk=user.pk).first_name == "new"

    def test_of_a_model_with_the_mixin_is_its_own(self) -> None:
        assert cached(Item) is Item.cached
        assert cached(ItemProxy) is ItemProxy.cached

    @pytest.mark.parametrize("model", [Group, Stamped], ids=["plain", "abstract"])
    def test_of_any_other_is_an_error_that_lists_those_that_are(self, model: Any) -> None:
        with pytest.raises(LookupError, match=r"is not a cached model\. Cached models: .*app\.Item, "):
            cached(model)

    def test_after_the_model_is_forgotten_too(self, given: Callable[..., None]) -> None:
        given(Group)
        manager = cached(Group)
        registry.remove(Group)
        with pytest.raises(LookupError, match="is not a cached model"):
            cached(Group)
        with pytest.raises(LookupError, match="is not a cached model"):
            manager.get(pk=1)
        registry.add(Group)


class TestWrites:
    """Whoever writes, however: visible at once."""

    @pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
    @pytest.mark.parametrize(
        "write",
        [
            pytest.param(write, id=title)
            for title, write in {
                "update": lambda user, db: User.objects.using(db).filter(pk=user.pk).update(first_name="new"),
                "update-of-many": lambda user, db: User.objects.using(db).exclude(email="").update(first_name="new"),
                "save": lambda user, db: user.save(),
                "update_fields": lambda user, db: user.save(update_fields=["first_name"]),
                "bulk_update": lambda user, db: User.objects.using(db).bulk_update([user], ["first_name"]),
                "plain-queryset": lambda user, db: models.QuerySet(User).using(db).update(first_name="new"),
                "raw": lambda user, db: (
                    connections[db].cursor().execute("UPDATE auth_user SET first_name = 'new' WHERE id = %s", [user.pk])
                ),
            }.items()
        ],
    )
    def test_of_a_row(
        self, users: Users, user: User, db_alias: str, elsewhere: Elsewhere, write: Any, is_atomic: bool
    ) -> None:
        users().get(pk=user.pk)
        user.first_name = "new"
        if is_atomic:
            with transaction.atomic(using=db_alias):
                write(user, db_alias)
        else:
            write(user, db_alias)
        assert users().get(pk=user.pk).first_name == "new"
        assert elsewhere(lambda: users().get(pk=user.pk).first_name) == "new"

    def test_delete_and_insert(self, users: Users, user: User, db_alias: str) -> None:
        pk = users().get(pk=user.pk).pk
        user.delete()
        with pytest.raises(User.DoesNotExist):
            users().get(pk=pk)
        User.objects.using(db_alias).create(pk=pk, username=name())
        assert users().get(pk=pk).email == ""

    def test_a_changed_password_holds_at_once(self, users: Users, user: User) -> None:
        assert users().get(pk=user.pk).check_password("s3cret")
        user.set_password("0ther")
        user.save()
        assert users().get(pk=user.pk).check_password("0ther")
        assert not users().get(pk=user.pk).check_password("s3cret")

    def test_groups_are_read_from_the_database(self, users: Users, user: User, db_alias: str) -> None:
        """Permissions are cached on the instance, and each read has its own."""
        group = Group.objects.using(db_alias).create(name=name())
        assert list(users().get(pk=user.pk).groups.all()) == []
        user.groups.add(group)
        assert list(users().get(pk=user.pk).groups.all()) == [group]
        group.delete()
        assert list(users().get(pk=user.pk).groups.all()) == []

    def test_nothing_of_the_model_is_touched(self, given: Callable[..., None]) -> None:
        attributes, managers = set(vars(User)), [*User._meta.managers]
        given(User)
        cached(User)
        assert set(vars(User)) == attributes
        assert [*User._meta.managers] == managers == [User.objects]
        assert type(User._default_manager).__module__ == "django.contrib.auth.models"
        assert User.objects.model is User
        assert not hasattr(User, "cached")

    def test_the_checks_do_not_ask_for_a_manager_of_ours(self, users: Users) -> None:
        assert [one for one in checks.check_models() if one.obj is User] == []


class TestExclude:
    def test_no_byte_of_a_password_is_in_redis(
        self, users: Users, user: User, db_alias: str, server: Server, valkey_url: str
    ) -> None:
        """By default, for whoever derives from ``AbstractBaseUser``."""
        users().get(pk=user.pk)
        users().in_bulk([user.pk])
        held = b"".join(key + raw for key, raw in everything(server))
        assert user.username.encode() in held
        _, salt, digest = user.password.split("$")
        for part in (user.password, salt, digest):
            assert part.encode() not in held

    @pytest.mark.parametrize("with_listener", [False, True], ids=["built", "from_db"])
    def test_hit_and_miss_look_alike(
        self, users: Users, user: User, db_alias: str, server: Server, with_listener: bool
    ) -> None:
        """Whichever way instances are made, the column is deferred, and one SELECT brings it."""

        def listener(**_: Any) -> None: ...

        server.empty()
        if with_listener:
            post_init.connect(listener, sender=User)
        try:
            seen = [selects(db_alias, read) for read in [lambda: users().get(pk=user.pk)] * 2]
            seen.append(selects(db_alias, lambda: users().in_bulk([user.pk])[user.pk]))
        finally:
            post_init.disconnect(listener, sender=User)
        assert [sent for _, sent in seen] == [1, 0, 0]
        for served, _ in seen:
            assert served.get_deferred_fields() == {"password"}
            assert served._state.db == db_alias
            assert not served._state.adding
            assert selects(db_alias, lambda one=served: one.password) == (user.password, 1)
            assert selects(db_alias, lambda one=served: one.check_password("s3cret")) == (True, 0)
            assert served.get_deferred_fields() == set()

    def test_is_loaded_by_check_password(self, users: Users, user: User, db_alias: str) -> None:
        users().get(pk=user.pk)
        served = users().get(pk=user.pk)
        assert selects(db_alias, lambda: served.check_password("s3cret")) == (True, 1)
        assert not served.check_password("wrong")

    def test_save_does_what_it_does_to_deferred_fields(self, users: Users, user: User, db_alias: str) -> None:
        """Django writes the loaded columns only: a password that changed meanwhile stays."""

        def written(one: User) -> str:
            one.first_name = "new"
            with CaptureQueriesContext(connections[db_alias]) as queries:
                one.save()
            (update,) = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
            return update

        django = written(User.objects.using(db_alias).defer("password").get(pk=user.pk))
        users().get(pk=user.pk)
        served = users().get(pk=user.pk)
        user.set_password("0ther")
        user.save()
        assert written(served) == django
        assert "password" not in django
        assert users().get(pk=user.pk).check_password("0ther")
        assert users().get(pk=user.pk).first_name == "new"

    def test_a_password_set_on_a_served_one_is_saved(self, users: Users, user: User) -> None:
        users().get(pk=user.pk)
        served = users().get(pk=user.pk)
        served.set_password("0ther")
        served.save()
        assert users().get(pk=user.pk).check_password("0ther")

    def test_given_explicitly_it_is_what_was_given(
        self, given: Callable[..., None], db_alias: str, server: Server
    ) -> None:
        """An empty list stores the password as well."""
        given(User, exclude=[])
        user = User.objects.db_manager(db_alias).create_user(name(), password="s3cret")
        cached(User).using(db_alias).get(pk=user.pk)
        served = cached(User).using(db_alias).get(pk=user.pk)
        assert served.get_deferred_fields() == set()
        assert served.password == user.password
        assert user.password.encode() in b"".join(raw for _, raw in everything(server))

    def test_entries_of_other_columns_are_not_decoded(
        self, given: Callable[..., None], db_alias: str, server: Server
    ) -> None:
        """The fingerprint covers the kept columns: a process with other options loads for itself."""
        given(User, exclude=["email", "password"])
        user = User.objects.db_manager(db_alias).create_user(name(), email="b@example.org")
        cached(User).using(db_alias).get(pk=user.pk)
        registry.remove(User)
        registry.add(User, ModelOptions(exclude=frozenset({"password"})))
        served, sent = selects(db_alias, lambda: cached(User).using(db_alias).get(pk=user.pk))
        assert (served.get_deferred_fields(), sent) == ({"password"}, 1)

    @pytest.mark.parametrize(
        ("model", "excluded", "make"),
        [
            pytest.param(Detail, {"item_id"}, None, id="primary-key-that-is-a-relation"),
            pytest.param(Item, {"maker_id"}, {"name": "x"}, id="relation"),
            pytest.param(Item, {"data", "slug", "stock"}, {"name": "x"}, id="several"),
            pytest.param(Cafe, {"name"}, {"name": "x", "seats": 2}, id="parent-s"),
            pytest.param(Cafe, {"seats"}, {"name": "x", "seats": 2}, id="child-s"),
            pytest.param(Doc, {"file"}, {"file": "docs/a.txt"}, id="from_db-overridden"),
        ],
    )
    def test_any_column(
        self, model: Any, excluded: set[str], make: Any, db_alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Relations by either of their names."""
        if make is None:
            with pytest.raises(ImproperlyConfigured, match="exclude names 'item_id', the primary key"):
                read(model, exclude=["item_id"])
            return
        own = registry.for_model(model)
        monkeypatch.setitem(registry._registrations, model, type(own)(model, read(model, exclude=excluded)))
        row = model.objects.using(db_alias).create(**make)
        model.cached.using(db_alias).get(pk=row.pk)
        served, sent = selects(db_alias, lambda: model.cached.using(db_alias).get(pk=row.pk))
        assert (served.get_deferred_fields(), sent) == (excluded, 0)
        row.refresh_from_db()
        for attname in excluded:
            assert getattr(served, attname) == getattr(row, attname)


def read(model: type[Model], **options: Any) -> ModelOptions:
    """The options of ``class CacheAside``, had the model these."""
    declared = type("CacheAside", (), options)
    return read_options(type("Copy", (), {"_meta": model._meta, "CacheAside": declared}))  # type: ignore[arg-type]


def everything(server: Server) -> Iterator[tuple[bytes, bytes]]:
    """Each key of the server, whoever's, and its bytes."""
    client = server._client
    for key in client.scan_iter(count=10_000):
        is_text = client.type(key) == b"string"
        yield key, (client.get(key) if is_text else client.dump(key)) or b""  # DUMP compresses texts


class TestOptions:
    def test_are_those_of_class_cacheaside(self, given: Callable[..., None]) -> None:
        given(User, ttl=60, jitter=0, negative_ttl=5, exclude=["password", "email"])
        assert registry.for_model(User).options == ModelOptions(60, 0, 5, exclude=frozenset({"password", "email"}))
        assert registry.for_model(User).keys[0].ttl_s == 60

    @isolate_apps("tests.app")
    def test_passwords_are_left_out_of_every_user(self) -> None:
        """With the mixin, inherited, or none there."""

        class Account(CacheAsideMixin, AbstractBaseUser):
            class Meta:
                app_label = "app"

        class Staff(Account):
            class Meta:
                app_label = "app"

        class External(CacheAsideMixin, AbstractBaseUser):
            password = None  # type: ignore[assignment]

            class Meta:
                app_label = "app"

        class Kept(Account):
            class Meta:
                app_label = "app"

            class CacheAside:
                exclude = ()

        try:
            found = [registry.for_model(model).options.exclude for model in (Account, Staff, External, Kept)]
        finally:
            for model in (Account, Staff, External, Kept):
                registry.remove(model)
            forget_plans()
        assert found == [{"password"}, {"password"}, set(), set()]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"tll": 5}, r"register\(auth\.User\) has no option 'tll'\. Did you mean 'ttl'\?", id="typo"),
            pytest.param({"exlude": []}, r"has no option 'exlude'\. Did you mean 'exclude'\?", id="exclude-typo"),
            pytest.param({"ttl": "5"}, r"register\(auth\.User\): .*'5'; it takes seconds", id="text"),
            pytest.param({"exclude": "password"}, r"'password'; it takes a list of field names", id="no-list"),
            pytest.param({"exclude": [1]}, r"\[1\]; it takes a list of field names", id="no-names"),
            pytest.param({"exclude": None}, r"None; it takes a list of field names", id="none"),
            pytest.param({"exclude": ["id"]}, r"exclude names 'id', the primary key", id="primary-key"),
            pytest.param({"exclude": ["pk"]}, r"exclude names 'pk', the primary key", id="pk"),
            pytest.param(
                {"exclude": ["pasword"]},
                r"exclude names 'pasword', no column of auth\.User\. Did you mean 'password'\?",
                id="near",
            ),
            pytest.param({"exclude": ["groups"]}, r"'groups', no column of auth\.User\.", id="many-to-many"),
        ],
    )
    def test_a_wrong_one_is_an_error(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=message):
            register(User, **options)
        assert registry.get(User) is None

    @pytest.mark.parametrize(
        ("model", "column"),
        [(Cafe, "venue_ptr"), (Cafe, "id"), (Seat, "row"), (Item, "id")],
    )
    def test_no_part_of_a_primary_key_can_be_left_out(self, model: Any, column: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=f"exclude names '{column}', the primary key"):
            read(model, exclude=[column])


class TestRegister:
    @pytest.mark.parametrize("call", [register, cached])
    @pytest.mark.parametrize(
        ("what", "said"),
        [
            pytest.param("auth.User", r"the name 'auth\.User': import the class, or ask apps\.get_model", id="name"),
            pytest.param(User.objects, r"a UserManager: pass User", id="manager"),
            pytest.param(User(pk=1), r"an instance: pass User", id="instance"),
            pytest.param(None, r"a NoneType", id="none"),
        ],
    )
    def test_what_is_no_model_is_an_error_that_says_what_to_pass(self, call: Any, what: Any, said: str) -> None:
        with pytest.raises(TypeError, match=rf"^{call.__name__}\(Model\) takes a model's class, not {said}"):
            call(what)

    def test_twice_is_an_error(self, given: Callable[..., None]) -> None:
        given(User)
        with pytest.raises(ImproperlyConfigured, match=r"cached model already, .* Keep one call, with all its options"):
            register(User, ttl=5)
        assert registry.for_model(User).options.ttl is None

    @pytest.mark.parametrize("model", [Item, ItemProxy])
    def test_a_model_with_the_mixin_is_an_error(self, model: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"has CacheAsideMixin, .*its class CacheAside"):
            register(model)

    def test_statements_that_ran_before_are_looked_at_anew(self, given: Callable[..., None], db_alias: str) -> None:
        """The net keeps what a text writes; now it writes a cached model."""
        group = Group.objects.using(db_alias).create(name=name())

        def rename(new: str) -> None:
            Group.objects.using(db_alias).filter(pk=group.pk).update(name=new)

        rename(name())
        given(Group)
        cached(Group).using(db_alias).get(pk=group.pk)
        rename(new := name())
        assert cached(Group).using(db_alias).get(pk=group.pk).name == new

    def test_an_abstract_model_is_an_error(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"abstract model has no rows\. Register the models derived"):
            register(AbstractBaseUser)

    @override_settings(AUTH_USER_MODEL="app.Account")
    def test_a_swapped_model_is_an_error(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"register\(auth\.User\): it is swapped for app\.Account\."):
            register(User)

    @isolate_apps("tests.app")
    def test_a_proxy_stands_for_its_model(self, given: Callable[..., None]) -> None:
        class Member(Group):
            class Meta:
                app_label = "app"
                proxy = True

        given(Member, ttl=5)
        assert registry.for_model(Group) is registry.for_model(Member)
        assert registry.for_model(Group).model is Group

    @isolate_apps("tests.app")
    def test_a_proxy_with_the_mixin_takes_nothing_away(self, users: Users, user: User, db_alias: str) -> None:
        """Its model's options hold, and what is excluded stays out; so after a second ``wire()``."""

        class Reader(CacheAsideMixin, User):
            class Meta:
                app_label = "app"
                proxy = True

        wire()
        assert registry.for_model(Reader).options == ModelOptions(ttl=60, exclude=frozenset({"password"}))
        assert Reader.cached.using(db_alias).get(pk=user.pk).get_deferred_fields() == {"password"}
        assert cached(Reader) is Reader.cached

    @pytest.mark.parametrize("is_first", [True, False], ids=["before-ours", "after-ours"])
    @pytest.mark.parametrize("place", ["models", "ready"])
    def test_wherever_a_project_calls_it(self, tmp_path: Path, place: str, is_first: bool) -> None:
        """At import of ``models.py`` or in ``ready``; ``apps.py`` imports us at its top; writes are heard of."""
        call = "from django.contrib.auth.models import User\n{0}register(User, ttl=7)\n"
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "__init__.py").touch()
        (tmp_path / "late" / "models.py").write_text(
            "from django_cacheaside.orm.register import cached, register\n"
            + (call.format("") + "people = cached(User)\n" if place == "models" else "")
        )
        (tmp_path / "late" / "apps.py").write_text(
            "from django.apps import AppConfig\n"
            "from django_cacheaside.orm.register import cached, register\n"
            "class Late(AppConfig):\n"
            "    name = 'late'\n"
            "    def ready(self):\n"
            f"        {call.format(' ' * 8) if place == 'ready' else 'pass'}\n"
        )
        (tmp_path / "late_settings.py").write_text(
            "from tests.settings import *\n"
            "INSTALLED_APPS = [app for app in INSTALLED_APPS if app != 'tests.app']\n"
            f"INSTALLED_APPS.insert({0 if is_first else len('xxxx')}, 'late')\n"
            "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
        )
        (tmp_path / "play.py").write_text(
            "import django; django.setup()\n"
            "from django.contrib.auth.models import User\n"
            "from django.core.management import call_command\n"
            "from django_cacheaside.orm.register import cached\n"
            "from django_cacheaside.orm.registry import registry\n"
            "call_command('migrate', verbosity=0)\n"
            "user = User.objects.create_user('old')\n"
            "cached(User).get(pk=user.pk); cached(User).get(pk=user.pk)\n"
            "User.objects.filter(pk=user.pk).update(username='new')\n"
            "print(cached(User).get(pk=user.pk), registry.for_model(User).options.ttl,\n"
            "      *registry.for_model(User).tally.counts.values())\n"
        )
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "late_settings",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]),
        }
        played = subprocess.run(
            [sys.executable, str(tmp_path / "play.py")], capture_output=True, text=True, env=environment, check=False
        )
        assert played.returncode == 0, played.stderr
        assert played.stdout.split()[:2] == ["new", "7.0"]

    def test_without_our_app_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody would hear of writes."""
        monkeypatch.setattr("django_cacheaside.orm.register.apps.is_installed", lambda name: False)
        with pytest.raises(ImproperlyConfigured, match="add 'django_cacheaside' to INSTALLED_APPS"):
            register(User)

"""The system checks: each fires where something is wrong, says what to do, and is silent otherwise."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core import checks as django_checks
from django.core.checks import CheckMessage
from django.db import connections, models
from django.test import override_settings
from django.test.utils import isolate_apps

from django_cacheaside import checks
from django_cacheaside.models import CacheAsideManager, CacheAsideMixin, CacheAsideQuerySet, CachedManager
from django_cacheaside.orm.registry import registry
from example_project.embedded import EmbeddedValkey
from tests.app.models import Coded, Plain, Priced, Product


def ids(messages: list[CheckMessage]) -> list[str]:
    return [str(message.id).removeprefix("cacheaside.") for message in messages]


def alias(**parameters: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://:s3cret@a:1/0", **parameters}}


class TestAllChecks:
    def test_are_silent_where_nothing_is_wrong(self):
        for check in (checks.check_settings, checks.check_alias, checks.check_timeouts):
            assert check() == []
        assert [one for one in checks.check_models() if one.obj is Product] == []

    def test_are_run_by_django_once(self):
        registered = [
            check
            for deploy in (False, True)
            for check in django_checks.registry.registry.get_checks(deploy)
            if check.__module__ == checks.__name__
        ]
        assert len(set(registered)) == 6
        checks.register_checks()
        assert checks.check_server not in django_checks.registry.registry.get_checks(include_deployment_checks=False)

    def test_are_all_documented(self):
        """The docstring lists the ids that the code has."""
        package = Path(checks.__file__).parent
        written = "".join(path.read_text("utf-8") for path in (package / "checks.py", *package.glob("conf/*.py")))
        in_code = set(re.findall(r'"cacheaside\.([EW]\d{3})"', written))
        assert re.findall(r"^    ([EW]\d{3})  ", checks.__doc__ or "", re.M) == sorted(
            in_code, key=lambda found: found[1:]
        )

    def test_run_before_settings_that_are_wrong_break_anything(self, tmp_path):
        """A typo in CACHEASIDE ends in a check's message, not in a traceback from the start of the app."""
        (tmp_path / "typo_settings.py").write_text(
            "from tests.settings import *\n"
            "DATABASES['default'] = DATABASES['sqlite']\n"  # one that is there: from 6.1 on all are checked
            "CACHEASIDE = {'CACHE': 'no-such-alias', 'TLT': 5}\n"
        )
        check = subprocess.run(
            [sys.executable, "-m", "django", "check", "--settings=typo_settings", f"--pythonpath={tmp_path}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert check.returncode == 1
        assert "(cacheaside.E002) CACHEASIDE has no key 'TLT'.\n\tHINT: Did you mean 'TTL'?" in check.stderr
        assert "Traceback" not in check.stderr


class TestSettings:
    @pytest.mark.parametrize(("raw", "id"), [("x", "E001"), ({"TLT": 1}, "E002"), ({"TTL": -1}, "E003")])
    def test_reports_what_is_wrong(self, raw, id):  # noqa: A002
        with override_settings(CACHEASIDE=raw):
            (error,) = checks.check_settings()
            assert ids([error]) == [id]
            assert error.hint
            assert error.is_serious()
            for other in (checks.check_alias, checks.check_timeouts, checks.check_server):
                assert other() == []  # one mistake, one message


class TestAlias:
    @pytest.mark.parametrize(
        ("caches", "id"),
        [
            pytest.param({}, "E010", id="missing"),
            pytest.param({"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}, "E011", id="dummy"),
            pytest.param(alias(OPTIONS={"CLIENT_CLASS": "django_redis.client.ShardClient"}), "E012", id="sharded"),
            pytest.param(alias(LOCATION=["redis://:s3cret@a:1/0", "redis://b:1/0"]), "W013", id="replica"),
            pytest.param(alias(OPTIONS={"CLIENT_CLASS": "django_redis.client.SentinelClient"}), "W013", id="sentinel"),
        ],
    )
    def test_reports_what_is_wrong(self, caches, id):  # noqa: A002
        with override_settings(CACHES=caches):
            (message,) = checks.check_alias()
        assert ids([message]) == [id]
        assert message.hint
        assert message.is_serious() == id.startswith("E")

    def test_names_the_primary_without_its_password(self):
        with override_settings(CACHES=alias(LOCATION="redis://:s3cret@a:1/0,redis://b:1/0")):
            (message,) = checks.check_alias()
        assert "from a:1 only" in message.msg
        assert "s3cret" not in str(message)

    @pytest.mark.parametrize("location", ["rediss://user:s3cret@a:1/0", "unix:///run/redis.sock?db=0"])
    def test_accepts_credentials_tls_and_sockets(self, location):
        with override_settings(CACHES=alias(LOCATION=location)):
            assert checks.check_alias() == []


class TestTimeouts:
    @pytest.mark.parametrize(
        ("vendor", "options", "limit"),
        [
            pytest.param("postgresql", {}, 0, id="pg-none"),
            pytest.param("postgresql", {"options": "-c statement_timeout=60000"}, 60, id="pg-ms"),
            pytest.param("postgresql", {"options": "-c statement_timeout=2min"}, 120, id="pg-unit"),
            pytest.param("postgresql", {"options": "-cstatement_timeout='45s' -c x=y"}, 45, id="pg-quoted"),
            pytest.param("postgresql", {"options": "--lock-timeout=40000"}, 40, id="pg-lock"),
            pytest.param("postgresql", {"options": "-c lock_timeout=40s -c statement_timeout=9s"}, 9, id="pg-two"),
            pytest.param("postgresql", {"options": "-c lock_timeout=40s -c statement_timeout=0"}, 40, id="pg-off"),
            pytest.param("sqlite", {}, 5, id="sqlite-default"),
            pytest.param("sqlite", {"timeout": 40}, 40, id="sqlite"),
            pytest.param("mysql", {}, 50, id="mysql-by-default"),
            pytest.param("mysql", {"init_command": "SET SESSION innodb_lock_wait_timeout = 70"}, 70, id="mysql"),
            pytest.param("oracle", {"timeout": 99}, 0, id="oracle"),
        ],
    )
    def test_are_read_from_the_options(self, vendor, options, limit):
        assert checks.longest_write(vendor, options)[1] == limit

    def test_longer_than_intent_are_reported_with_both_numbers(self, monkeypatch):
        monkeypatch.setitem(connections["sqlite"].settings_dict["OPTIONS"], "timeout", 45)
        with override_settings(CACHEASIDE={"INTENT": 40}):
            (message,) = checks.check_timeouts()
        assert ids([message]) == ["W014"]
        assert "40 s" in message.msg
        assert "'sqlite' may take 45 s (timeout)" in message.msg
        with override_settings(CACHEASIDE={"INTENT": 46}):
            assert checks.check_timeouts() == []


@contextmanager
def cached(model: type[models.Model]) -> Iterator[list[CheckMessage]]:
    """What the checks say of a model that exists in the block only."""
    registry.add(model)
    try:
        yield [one for one in checks.check_models() if one.obj is model]
    finally:
        registry.remove(model)


class TestModels:
    def test_reports_a_default_manager_that_is_not_ours(self):
        (message,) = [one for one in checks.check_models() if one.obj is Coded]
        assert ids([message]) == ["W020"]
        assert "app.Coded gives a QuerySet" in message.msg

    def test_reports_a_primary_key_that_is_not_cached(self):
        (message,) = [one for one in checks.check_models() if one.obj is Priced]
        assert ids([message]) == ["W021"]
        assert "app.Priced (DecimalField)" in message.msg

    @isolate_apps("tests.app")
    def test_says_that_a_composite_primary_key_is_not_cached(self):
        class Pair(CacheAsideMixin, models.Model):
            pk = models.CompositePrimaryKey("left", "right")
            left = models.IntegerField()
            right = models.IntegerField()

            class Meta:
                app_label = "app"

        with cached(Pair) as found:
            assert ids(found) == ["W021"]

    @isolate_apps("tests.app")
    @pytest.mark.parametrize(
        "manager",
        [
            CacheAsideManager(),
            CachedManager(),
            CacheAsideManager.from_queryset(type("OwnQuerySet", (CacheAsideQuerySet,), {}))(),
            models.Manager.from_queryset(CacheAsideQuerySet)(),
        ],
    )
    def test_accepts_every_manager_of_ours(self, manager):
        Own = type("Own", (CacheAsideMixin, models.Model), {"objects": manager, "__module__": "tests.app.models"})  # noqa: N806
        with cached(Own) as found:
            assert found == []

    def test_reports_a_proxy_with_options_of_its_own(self):
        """``exclude`` there would keep nothing out."""
        with isolate_apps("tests.app") as isolated:

            class Kept(CacheAsideMixin, models.Model):
                class CacheAside:
                    ttl = 60

                class Meta:
                    app_label = "app"

            class Silent(Kept):
                class Meta:
                    app_label = "app"
                    proxy = True

            class Own(Kept):
                class CacheAside:
                    exclude = ["name"]

                class Meta:
                    app_label = "app"
                    proxy = True

            class Unmixed(Product):  # of a model without options
                class CacheAside:
                    ttl = 1

                class Meta:
                    app_label = "app"
                    proxy = True

            class Foreign(Plain):  # of a model that is not cached
                class CacheAside:
                    ttl = 1

                class Meta:
                    app_label = "app"
                    proxy = True

        try:
            found = checks.check_models(app_configs=[isolated.get_app_config("app")])
        finally:
            registry.remove(Kept)
        messages = {one.obj: one for one in found if one.id == "cacheaside.E024"}
        assert set(messages) == {Own, Unmixed}
        assert messages[Own].is_serious()
        assert (
            messages[Own].hint
            == "Put the options into the class CacheAside of app.Kept, and take them out of the proxy."
        )

    def test_looks_at_the_apps_that_were_asked_for(self):
        """``manage.py check auth``."""
        assert checks.check_models(app_configs=[apps.get_app_config("auth")]) == []
        assert checks.check_models(app_configs=[apps.get_app_config("app")]) != []


class TestServer:
    @pytest.mark.parametrize(
        ("policy", "words"),
        [
            ("noeviction", "refuses writes"),
            ("volatile-ttl", "evict intents first"),
            ("volatile-lfu", "evict intents before values"),
            ("allkeys-lfu", "evict intents before values"),
            ("allkeys-random", "evict intents before values"),
        ],
    )
    def test_reports_a_policy_that_loses_intents(self, policy, words):
        message, hint = checks.eviction_problem({"maxmemory": "1000", "maxmemory_policy": policy}) or ("", "")
        assert words in message
        assert policy in message
        assert "allkeys-lru" in hint

    @pytest.mark.parametrize(
        "memory",
        [
            {"maxmemory": "1000", "maxmemory_policy": "allkeys-lru"},
            {"maxmemory": "1000", "maxmemory_policy": "volatile-lru"},
            {"maxmemory": "0", "maxmemory_policy": "noeviction"},
            {},
        ],
    )
    def test_accepts_what_keeps_intents_longest(self, memory):
        assert checks.eviction_problem(memory) is None

    def test_asks_the_server(self):
        with (
            EmbeddedValkey(maxmemory="50mb", maxmemory_policy="volatile-ttl") as server,
            override_settings(CACHES=alias(LOCATION=server.url)),
        ):
            assert ids(checks.check_server()) == ["W030"]

    def test_reports_a_server_that_does_not_answer(self, fresh_valkey):
        with override_settings(CACHES=alias(LOCATION=fresh_valkey.url)):
            assert checks.check_server() == []
            fresh_valkey.stop()
            (message,) = checks.check_server()
        assert ids([message]) == ["W031"]
        assert "does not answer" in message.msg

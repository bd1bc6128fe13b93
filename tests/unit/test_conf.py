"""``CACHEASIDE``: what is taken, and what is said of the rest."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_cacheaside import conf

LOCATION = "redis://127.0.0.1:6379/0"


def caches(**alias: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": LOCATION, **alias}}


class TestSettingsProblems:
    @pytest.mark.parametrize(
        "raw",
        [
            {},
            {"CACHE": "default"},
            {"TTL": 1, "WAIT": 0, "JITTER": 0, "ENABLED": False},
            {"FALLBACK_LIMIT": None},
            {"FALLBACK_LIMIT": 8, "FALLBACK_WAIT": 0, "STALE": timedelta(hours=1)},
        ],
    )
    def test_finds_nothing_in_what_is_right(self, raw):
        assert list(conf.settings_problems(raw)) == []

    @pytest.mark.parametrize("raw", [None, "default", [("CACHE", "default")]])
    def test_takes_a_dict(self, raw):
        (problem,) = conf.settings_problems(raw)
        assert problem.id == "cacheaside.E001"

    @pytest.mark.parametrize(
        ("name", "nearest"),
        [("TLT", "TTL"), ("ttl", "TTL"), ("NEGATIV_TTL", "NEGATIVE_TTL"), ("CAHCE", "CACHE")],
    )
    def test_names_the_nearest_for_an_unknown_key(self, name, nearest):
        """A typo that is dropped with a warning turns a protection off."""
        (problem,) = conf.settings_problems({name: 1})
        assert problem.id == "cacheaside.E002"
        assert repr(name) in problem.message
        assert problem.hint == f"Did you mean {nearest!r}?"

    def test_lists_all_keys_where_none_is_near(self):
        (problem,) = conf.settings_problems({"XYZZY": 1})
        assert all(name in problem.hint for name in conf.KNOWN)

    def test_survives_a_key_that_is_no_text(self):
        (problem,) = conf.settings_problems({5: 1})
        assert problem.id == "cacheaside.E002"

    @pytest.mark.parametrize("name", conf.DURATIONS)
    def test_takes_a_duration_from_end_to_end_of_its_range(self, name):
        allowed = conf.DURATIONS[name]
        for inside_s in (allowed.least_s, allowed.most_s):
            assert list(conf.settings_problems({name: inside_s})) == []
        for outside_s in (allowed.least_s - 0.001, allowed.most_s + 1):
            (problem,) = conf.settings_problems({name: outside_s})
            assert problem.id == "cacheaside.E003"
            assert f"between {allowed.least_s:g} and {allowed.most_s:g} s" in problem.message
            assert problem.hint == f"The default is {conf.DEFAULTS[name]:g} s."

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param({"TTL": "300"}, id="text"),
            pytest.param({"TTL": None}, id="none"),
            pytest.param({"TTL": True}, id="bool"),
            pytest.param({"TTL": float("nan")}, id="nan"),
            pytest.param({"TTL": float("inf")}, id="endless"),
            pytest.param({"TTL": timedelta(seconds=-1)}, id="negative"),
            pytest.param({"JITTER": 1.1}, id="jitter-above-1"),
            pytest.param({"JITTER": True}, id="jitter-bool"),
            pytest.param({"JITTER": "0.1"}, id="jitter-text"),
            pytest.param({"ENABLED": "yes"}, id="enabled"),
            pytest.param({"CACHE": 5}, id="cache"),
            pytest.param({"STALE": -1}, id="stale"),
            pytest.param({"FALLBACK_WAIT": None}, id="fallback-wait"),
            pytest.param({"FALLBACK_LIMIT": 0}, id="fallback-limit-none-at-all"),
            pytest.param({"FALLBACK_LIMIT": 2.5}, id="fallback-limit-no-number"),
            pytest.param({"FALLBACK_LIMIT": True}, id="fallback-limit-bool"),
        ],
    )
    def test_refuses_a_value_of_the_wrong_kind(self, raw):
        (problem,) = conf.settings_problems(raw)
        assert problem.id == "cacheaside.E003"
        assert next(iter(raw)) in problem.message

    def test_finds_all_mistakes_at_once(self):
        assert len(list(conf.settings_problems({"TLT": 1, "WAIT": -1, "JITTER": 2}))) == 3


class TestGetSettings:
    def test_has_a_default_for_everything(self):
        with override_settings(CACHEASIDE={}):
            assert conf.get_settings() == conf.Settings()
        with override_settings():
            from django.conf import settings

            del settings.CACHEASIDE
            conf.get_settings.cache_clear()
            assert conf.get_settings() == conf.Settings()

    def test_takes_durations_as_numbers_and_as_timedeltas(self):
        with override_settings(CACHEASIDE={"TTL": timedelta(minutes=2), "LEASE": 2, "WAIT": 0.5}):
            found = conf.get_settings()
        assert (found.TTL, found.LEASE, found.WAIT) == (120.0, 2.0, 0.5)

    def test_is_frozen(self):
        with pytest.raises(FrozenInstanceError):
            conf.get_settings().TTL = 1  # type: ignore[misc]

    def test_is_read_once_and_again_when_the_setting_changes(self):
        before = conf.get_settings()
        assert conf.get_settings() is before
        with override_settings(CACHEASIDE={"TTL": 7}):
            assert conf.get_settings().TTL == 7.0
        assert conf.get_settings() == before

    def test_raises_what_is_wrong_and_what_to_do(self):
        with (
            override_settings(CACHEASIDE={"TLT": 7}),
            pytest.raises(ImproperlyConfigured, match=r"no key 'TLT'\. Did you mean 'TTL'\?"),
        ):
            conf.get_settings()

    def test_every_duration_is_a_setting(self):
        assert set(conf.DURATIONS) <= {field.name for field in fields(conf.Settings)}


class TestAlias:
    def test_gives_the_parameters_and_the_key_function(self):
        with override_settings(CACHES=caches(KEY_PREFIX="p", VERSION=3, OPTIONS={"PASSWORD": "s3cret"})):
            alias = conf.get_alias("default")
        assert alias.make_key("k") == "p:3:k"
        assert alias.parameters.connection_kwargs["password"] == "s3cret"
        assert alias.parameters.connection_kwargs["host"] == "127.0.0.1"

    @pytest.mark.parametrize(
        ("name", "settings", "id"),
        [
            pytest.param("other", caches(), "cacheaside.E010", id="unknown"),
            pytest.param("default", caches(BACKEND="no.such.Backend"), "cacheaside.E010", id="not-importable"),
            pytest.param("default", caches(LOCATION=""), "cacheaside.E010", id="no-location"),
            pytest.param(
                "default",
                {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
                "cacheaside.E011",
                id="another-backend",
            ),
            pytest.param(
                "default",
                {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": LOCATION}},
                "cacheaside.E011",
                id="djangos-own-redis",
            ),
            pytest.param(
                "default",
                caches(OPTIONS={"CLIENT_CLASS": "django_redis.client.ShardClient"}),
                "cacheaside.E012",
                id="sharded",
            ),
        ],
    )
    def test_refuses_what_can_not_be_used(self, name, settings, id):  # noqa: A002
        with override_settings(CACHES=settings):
            problem = conf.alias_problem(name)
            assert problem is not None
            assert problem.id == id
            with pytest.raises(ImproperlyConfigured, match=name):
                conf.get_alias(name)

    @pytest.mark.parametrize(
        "location", [["redis://a/0", "redis://b/0"], "redis://a/0,redis://b/0", ("redis://a/0", "redis://b/0")]
    )
    def test_uses_the_first_of_several_servers(self, location):
        """The others are replicas: they may not have heard of a write."""
        with override_settings(CACHES=caches(LOCATION=location)):
            assert conf.primary_location("default") == "redis://a/0"
            assert conf.get_alias("default").parameters.connection_kwargs["host"] == "a"
            assert conf.reads_from_replicas("default")

    def test_asks_sentinel_for_the_master(self):
        with override_settings(CACHES=caches(LOCATION="redis://service/0?is_master=0")):
            assert conf.primary_location("default") == "redis://service/0?is_master=1"

"""``manage.py cacheaside stats``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core.management import CommandError
from django.db import connections, router, transaction

from django_cacheaside import disabled
from django_cacheaside.exceptions import StoreUnavailableError
from django_cacheaside.failpoints import armed
from django_cacheaside.keys import KeySpace
from django_cacheaside.management import stats
from django_cacheaside.management.stats_report import model_of
from django_cacheaside.orm import runtime
from django_cacheaside.orm.journal.table import JournalEntry
from django_cacheaside.orm.net.dropping import Reason
from django_cacheaside.orm.registry import registry
from django_cacheaside.store import sampling
from django_cacheaside.store.store import new_token
from django_cacheaside.store.writes import Writes
from example_project.embedded import EmbeddedValkey
from tests.app.keyed import Gadget
from tests.app.models import Coded, Priced, Product
from tests.fronts.telling import read_and_tell
from tests.fronts.test_commands import Terminal, run, server_of
from tests.orm.process import Process

pytestmark = pytest.mark.usefixtures("commits")


@pytest.fixture
def fresh(fresh_valkey: EmbeddedValkey) -> Iterator[EmbeddedValkey]:
    """A server on which nothing has been counted."""
    with server_of(fresh_valkey):
        yield fresh_valkey


def told(*arguments: str) -> dict[str, Any]:
    """What ``--json`` says."""
    out, err = run("stats", *arguments, "--json")
    assert err == ""
    assert out.count("\n") == 1
    return json.loads(out)


def of(model: Any) -> dict[str, Any]:
    return told(model._meta.label)["models"][model._meta.label]


def some(counts: dict[str, Any]) -> dict[str, Any]:
    """The counts that are not zero."""
    return {name: count for name, count in counts.items() if isinstance(count, int) and count}


def place(model: Any) -> runtime.Place:
    return runtime.current().place(registry.for_model(model), connections["default"])


@pytest.mark.usefixtures("fresh")
class TestCounts:
    def test_are_those_of_the_reads(self) -> None:
        first, second, third = (Product.objects.create(name="lamp") for _ in range(3))
        Product.cached.get(pk=first.pk)  # missed
        Product.cached.get(pk=first.pk)
        Product.cached.in_bulk([first.pk, second.pk, third.pk])  # two missed
        for _ in range(2):  # missed, and then known to be missing
            with pytest.raises(Product.DoesNotExist):
                Product.cached.get(pk=0)
        counts = of(Product)
        assert some(counts) == {
            "lookups": 7,
            "hits": 2,
            "negative_hits": 1,
            "misses": 4,
            "loads": 4,
            "fills": 4,
            "invalidated_rows": 3,
        }
        assert counts["hit_ratio"] == pytest.approx(3 / 7)
        assert counts["hit_us"]["count"] == 3  # a round trip of three rows is one
        assert counts["load_us"]["count"] == 3
        for times in (counts["hit_us"], counts["load_us"]):
            assert 0 < times["p50"] <= times["p99"]
            assert times["mean"] > 0

    def test_tell_bypasses_by_reason(self) -> None:
        row, other = Product.objects.create(name="lamp"), Product.objects.create(name="desk")
        with disabled():
            Product.cached.get(pk=row.pk)
        with transaction.atomic():
            Product.objects.filter(pk=row.pk).update(price=1)
            Product.cached.get(pk=row.pk)
            Product.cached.in_bulk([row.pk, other.pk])
            Product.cached.get(pk=other.pk)  # a miss: not what it has written
        with transaction.atomic(using="sqlite"), pytest.raises(Product.DoesNotExist):
            Product.cached.using("sqlite").get(pk=1)
        with transaction.atomic():
            with connections["default"].cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            Product.cached.get(pk=row.pk)
        writes, token = Writes(), new_token()
        writes.add_rows(place(Product).space, [str(row.pk)])
        runtime.current().store.place_intents(writes, token, intent_ms=60_000)
        Product.cached.get(pk=row.pk)
        Product.cached.in_bulk([row.pk])
        runtime.current().store.release(writes, token)
        counts = of(Product)
        assert some(counts["bypasses"]) == {"disabled": 1, "written": 3, "in_snapshot": 2, "commit_open": 2}
        assert counts["lookups"] == 8 + 1
        assert counts["misses"] == 1
        assert counts["hit_ratio"] == 0.0

    def test_of_a_miss_that_meets_a_commit_are_one_lookup(self) -> None:
        row = Product.objects.create(name="lamp")
        writes, token, store = Writes(), new_token(), runtime.current().store
        writes.add_rows(place(Product).space, [str(row.pk)])
        with armed("before-acquire", lambda: store.place_intents(writes, token, intent_ms=60_000)):
            Product.cached.get(pk=row.pk)
        store.release(writes, token)
        counts = of(Product)
        assert (counts["lookups"], counts["misses"], counts["commits_met"]) == (1, 1, 1)
        assert some(counts["bypasses"]) == {}

    def test_tell_reads_of_replicas_and_of_keys_that_are_not_cached(self) -> None:
        connections.settings["replica"] = {**connections.settings["default"]}
        row = Product.objects.create(name="lamp")
        try:
            Product.cached.using("replica").get(pk=row.pk)
        finally:
            connections["replica"].close()
            del connections["replica"], connections.settings["replica"]
        assert some(of(Product)["bypasses"]) == {"replica": 1}
        Priced.objects.create(price=1)
        Priced.cached.get(pk=1)
        assert some(of(Priced)["bypasses"]) == {"uncached_key": 1}

    def test_tell_reads_while_the_circuit_was_open(self) -> None:
        row = Product.objects.create(name="lamp")
        runtime.current().breaker.open("a test")
        Product.cached.get(pk=row.pk)
        Product.cached.in_bulk([row.pk, row.pk + 1])
        counts = told("app.Product")
        assert some(counts["models"]["app.Product"]["bypasses"]) == {"circuit_open": 3}
        assert counts["circuit"]["state"] == "open"
        assert counts["circuit"]["openings"] == 1

    def test_tell_what_is_written(self) -> None:
        rows = [Product.objects.create(name="lamp") for _ in range(3)]
        Product.objects.filter(pk__in=[row.pk for row in rows]).update(price=1)
        Product.objects.filter(name="lamp").update(price=2)
        counts = of(Product)
        assert counts["invalidated_rows"] == 6
        assert counts["invalidated_models"] == 1
        assert counts["drops"] == {Reason.UNNAMED_ROWS.value: 1}

    def test_of_all_tenants_are_their_models(self) -> None:
        writes, invalidator = Writes(), runtime.current().invalidator
        for tenant in ("alpha", "beta"):
            writes.add_rows(KeySpace(f"{tenant}/app.product", "shop", str), ["1", "2"])
            writes.add_rows(KeySpace(f"{tenant}/app.gadget.unique:slug", "shop", str), ["lamp"])
        invalidator.failed(invalidator.before(writes))
        assert of(Product)["invalidated_rows"] == 4
        assert (of(Gadget)["invalidated_rows"], of(Gadget)["invalidated_keys"]) == (0, 2)

    def test_of_declared_keys_are_lookups_too(self) -> None:
        """An entry for the key, and one for the row."""
        gadget = Gadget.objects.create(slug="lamp", sku="1")
        before = of(Gadget)
        for _ in range(3):
            Gadget.cached.get(slug="lamp")
        after = of(Gadget)
        gained = {name: count - before[name] for name, count in after.items() if isinstance(count, int)}
        # the first one loads the key's entry, and its row with it; the second one the row's
        assert some(gained) == {"lookups": 5, "hits": 3, "misses": 2, "loads": 2, "fills": 2}
        assert before["invalidated_keys"] > 0
        assert gadget.pk

    def test_of_an_index_that_is_outdated_is_a_miss(self) -> None:
        gadget = Gadget.objects.create(slug="lamp", sku="1")
        Gadget.cached.get(slug="lamp")
        Gadget.objects.filter(pk=gadget.pk).update(slug="desk")
        before = of(Gadget)
        with pytest.raises(Gadget.DoesNotExist):
            Gadget.cached.get(slug="lamp")
        after = of(Gadget)
        assert after["outdated"] - before["outdated"] == 1
        assert after["hits"] == before["hits"]

    def test_add_up(self) -> None:
        for model in told()["models"].values():
            served = model["hits"] + model["stale_hits"] + model["negative_hits"] + model["near_hits"]
            assert model["lookups"] == served + model["misses"] + sum(model["bypasses"].values())

    def test_are_of_the_models_that_are_named(self) -> None:
        assert list(told("app.Product", "app.coded")["models"]) == ["app.Coded", "app.Product"]
        assert "app.Product" in told("app")["models"]
        assert len(told()["models"]) == len(list(registry))

    def test_of_an_hour_ago_are_left_out_if_told_so(self, fresh: EmbeddedValkey) -> None:
        Product.cached.in_bulk([1])
        assert of(Product)["misses"] == 1
        with redis.Redis.from_url(fresh.url) as client:
            (key,) = client.keys("*counts:*")
            head, hour = key.decode().rsplit(":", 1)
            client.rename(key, f"{head}:{int(hour) - 3}")
        assert told("app.Product", "--hours=3")["models"]["app.Product"]["misses"] == 0
        assert told("app.Product", "--hours=4")["models"]["app.Product"]["misses"] == 1

    def test_stand_under_keys_that_expire(self, fresh: EmbeddedValkey) -> None:
        Product.cached.in_bulk([1])
        told()
        with redis.Redis.from_url(fresh.url) as client:
            ours = client.keys("*{cacheaside}*")
            assert {key.decode().split("}")[1].split(":")[0] for key in ours} >= {"counts", "hot"}
            assert all(client.ttl(key) > 0 for key in ours)


class TestProcesses:
    def test_add_up(self) -> None:
        """Two real ones."""
        row = Product.objects.create(name="lamp")
        Product.cached.get(pk=row.pk)
        before = of(Product)
        other = Process()
        try:
            Product.cached.get(pk=row.pk)
            other(read_and_tell, row.pk, 5)
            assert of(Product)["hits"] - before["hits"] == 6
            assert of(Product)["hits"] - before["hits"] == 6
            other(read_and_tell, row.pk, 1)
            assert of(Product)["hits"] - before["hits"] == 7
        finally:
            other.close()
        assert told()["processes"] >= 2

    def test_tell_their_last_counts_when_they_end(self, fresh: EmbeddedValkey) -> None:
        row = Product.objects.create(name="lamp")
        program = f"""
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = {connections["default"].settings_dict["NAME"]!r}
settings.CACHES["default"] = {{"BACKEND": "django_redis.cache.RedisCache", "LOCATION": {fresh.url!r}}}
django.setup()
from tests.app.models import Product
import os, sys
Product.cached.get(pk={row.pk})
if os.fork() == 0:
    Product.cached.get(pk={row.pk})
    sys.exit()
os.wait()
"""
        subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            check=True,
            timeout=60,
        )
        counts = told("app.Product")
        assert counts["models"]["app.Product"]["misses"] == 1
        assert counts["models"]["app.Product"]["hits"] == 1
        assert counts["processes"] == 3  # this one, which wrote the row, too


@pytest.mark.usefixtures("fresh")
class TestHotKeys:
    def test_are_listed_the_hottest_first(self) -> None:
        rows = [Product.objects.create(name="lamp") for _ in range(3)]
        for times, row in enumerate(rows, 1):
            for _ in range(times):
                Product.cached.get(pk=row.pk)
        Product.cached.in_bulk([row.pk for row in rows])
        tag = place(Product).space.tag
        assert told()["hot_keys"] == [
            {"key": f"{tag}{row.pk}", "model": "app.Product", "reads": reads}
            for row, reads in zip(reversed(rows), (4, 3, 2), strict=True)
        ]
        assert told("app.Coded")["hot_keys"] == []
        out, _ = run("stats")
        assert re.search(rf"^Hot keys +reads\n{re.escape(tag)}{rows[2].pk} +4\n", out, re.MULTILINE)

    @pytest.mark.parametrize(
        ("tag", "label"),
        [
            ("{shop.product@main}42", "shop.product"),
            ("{shop.product.slug@postgresql/shop}a/b@c", "shop.product"),
            ("{tenant/shop.product@main}42", "shop.product"),
            ("{a/b/shop.product.slug@main}42", "shop.product"),
            ("", ""),
        ],
    )
    def test_belong_to_models(self, tag: str, label: str) -> None:
        assert model_of(tag) == label


class TestMemory:
    def test_is_exact_where_all_keys_are_looked_at(self, fresh: EmbeddedValkey) -> None:
        rows = Product.objects.bulk_create([Product(name="lamp" * 9) for _ in range(30)])
        Product.cached.in_bulk([row.pk for row in rows])
        Coded.cached.in_bulk(["x"])
        with redis.Redis.from_url(fresh.url) as client:
            client.set("somebody's", "x" * 1000, ex=60)
            client.set("another:1:{app.product@other}e:1", "of another prefix", ex=60)
            keys = [key for key in client.scan_iter(":1:*") if b"app.product@" in key]
            size = sum(client.memory_usage(key) for key in keys)
        memory = of(Product)["memory"]
        assert len(keys) >= 30
        assert memory == {"keys": len(keys), "bytes": pytest.approx(size, rel=0.1), "sampled": len(keys)}
        assert of(Coded)["memory"]["keys"] < 5
        assert of(Priced)["memory"] == {"keys": 0, "bytes": 0, "sampled": 0}

    def test_is_estimated_from_a_bounded_sample(self, fresh: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = Product.objects.bulk_create([Product(name="lamp") for _ in range(3000)])
        Product.cached.in_bulk([row.pk for row in rows])
        monkeypatch.setattr(sampling, "SCANS", 3)
        monkeypatch.setattr(sampling, "KEYS_PER_SCAN", 100)
        with redis.Redis.from_url(fresh.url) as client:
            client.config_resetstat()
            memory = of(Product)["memory"]
            calls = {name: stats["calls"] for name, stats in client.info("commandstats").items()}
        assert memory["keys"] == pytest.approx(3000, rel=0.2)
        assert memory["sampled"] == sampling.MOST_SIZES_EACH
        assert calls["cmdstat_scan"] == 3
        assert calls["cmdstat_memory|usage"] == sampling.MOST_SIZES_EACH
        assert "cmdstat_keys" not in calls

    def test_is_unknown_where_the_user_may_not_look(self, fresh: EmbeddedValkey) -> None:
        Product.cached.in_bulk([1])
        with redis.Redis.from_url(fresh.url) as client:
            client.execute_command("ACL", "SETUSER", "default", "-memory|usage")
            assert of(Product)["memory"]["bytes"] is None
            client.execute_command("ACL", "SETUSER", "default", "-scan")
            assert of(Product)["memory"] is None
        out, _ = run("stats", "app.Product")
        assert re.search(r"^app\.Product .* - +-$", out, re.MULTILINE)


@pytest.mark.usefixtures("fresh")
class TestText:
    def test_shows_what_there_is(self) -> None:
        row = Product.objects.create(name="lamp")
        for _ in range(4):
            Product.cached.get(pk=row.pk)
        with disabled():
            Product.cached.get(pk=row.pk)
        Product.objects.filter(name="lamp").update(price=2)
        out, err = run("stats", "app.Product", "app.Coded")
        assert err == ""
        assert re.search(r"^Counted since \d{4}-\d\d-\d\d \d\d:\d\d, by 1 process\.\n", out)
        assert re.search(r"^app\.Product +5 +60\.0% +3 +0 +0 +0 +1 +1$", out, re.MULTILINE)
        assert re.search(r"^Costs +hit p50 µs +p99 µs +loads +load p50 µs", out, re.MULTILINE)
        assert "Nothing was read of 1 more model." in out
        assert "app.Product: bypasses: 1 × reads while the cache was disabled" in out
        assert f"app.Product: drops: 1 × {Reason.UNNAMED_ROWS.value}" in out
        assert re.search(r"^Server   Valkey \d+\.\d+\.\d+, [\d.]+ MB of no limit \(noeviction\), 0 evicted", out, re.M)
        assert "Circuit  closed in this process, opened 0 times;" in out
        assert "Journal  default: 0 waiting, 0 set aside" in out

    def test_is_as_wide_as_its_columns(self) -> None:
        Product.cached.in_bulk([1])
        Coded.cached.in_bulk(["x"])
        out, _ = run("stats")
        table = next(part for part in out.split("\n\n") if part.startswith("Reads"))
        assert len({len(line) for line in table.splitlines()}) == 1

    def test_says_that_nothing_was_read(self) -> None:
        assert "Nothing was read of 1 cached model." in run("stats", "app.Product")[0]

    def test_works_without_any_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "_registrations", {})
        out, _ = run("stats")
        assert "Server   Valkey" in out
        assert told()["models"] == {}


@pytest.mark.usefixtures("fresh")
class TestJournal:
    def test_rows_are_counted(self) -> None:
        JournalEntry.objects.create(keys=b"", spaces="")
        JournalEntry.objects.create(keys=b"", spaces="", failure="a test")
        assert told()["journal"]["default"] == {"waiting": 1, "set_aside": 1}

    def test_without_a_table_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(JournalEntry._meta, "db_table", "nowhere")
        assert told()["journal"]["default"] == {"waiting": None, "set_aside": None}
        assert "Journal  default: can't be read" in run("stats")[0]

    def test_is_of_each_database_that_is_written_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(router, "db_for_write", lambda *_, **__: "sqlite")
        assert list(told()["journal"]) == ["sqlite"]


class TestServerAway:
    def test_says_what_is_known_and_fails(self, fresh: EmbeddedValkey, capsys: pytest.CaptureFixture[str]) -> None:
        JournalEntry.objects.create(keys=b"", spaces="")
        fresh.stop()
        with pytest.raises(CommandError, match="The cache server does not answer: ") as caught:
            run_to_stdout("stats")
        assert caught.value.returncode == 1
        said = capsys.readouterr().out
        assert re.search(r"^Server   away: .*$", said, re.MULTILINE)
        assert "Journal  default: 1 waiting, 0 set aside" in said
        assert not runtime.current().breaker.is_open

    def test_is_said_in_json(self, fresh: EmbeddedValkey, capsys: pytest.CaptureFixture[str]) -> None:
        fresh.stop()
        with pytest.raises(CommandError):
            run_to_stdout("stats", "--json")
        said = json.loads(capsys.readouterr().out)
        assert said["failure"]
        assert said["server"] is None
        assert said["models"] == {}

    def test_does_not_end_a_watch(self, fresh: EmbeddedValkey) -> None:
        fresh.stop()
        out, _ = run("stats", "--watch=0.1", "--count=2")
        assert out.count("Server   away") == 2

    def test_loses_no_count(self, fresh: EmbeddedValkey) -> None:
        """What could not be told is told when the server is back."""
        with redis.Redis.from_url(fresh.url) as client:
            Product.cached.in_bulk([1])
            client.config_set("maxmemory", 1)
            with pytest.raises(StoreUnavailableError):
                runtime.current().publisher.publish()
            full = told()
            assert full["failure"] is None
            assert full["server"]["maxmemory"] == 1
            client.config_set("maxmemory", 0)
        assert of(Product)["misses"] == 1


def run_to_stdout(*arguments: str) -> None:
    """As ``run``, where the command fails and what it wrote before is wanted."""
    from django.core.management import call_command

    call_command("cacheaside", *arguments)


@pytest.mark.usefixtures("fresh")
class TestWatch:
    def test_shows_it_again_and_again(self) -> None:
        out, _ = run("stats", "app.Product", "--watch=0.1", "--count=3", "--json")
        assert [list(json.loads(line)["models"]) for line in out.splitlines()] == [["app.Product"]] * 3

    def test_repaints_a_terminal(self) -> None:
        out = Terminal()
        from django.core.management import call_command

        call_command("cacheaside", "stats", "app.Product", "--watch=0.1", "--count=2", stdout=out)
        assert out.getvalue().count(stats.REPAINT) == 2

    def test_ends_well_at_an_interrupt(self, fresh: EmbeddedValkey) -> None:
        """Ctrl-C in a real process: exit code 0."""
        program = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from django.conf import settings
settings.DATABASES["default"]["NAME"] = {connections["default"].settings_dict["NAME"]!r}
settings.CACHES["default"] = {{"BACKEND": "django_redis.cache.RedisCache", "LOCATION": {fresh.url!r}}}
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
        with subprocess.Popen(
            [sys.executable, "-c", program, "cacheaside", "stats", "app.Product", "--watch", "--json", "--skip-checks"],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=10)
        assert json.loads(first)["failure"] is None
        assert process.returncode == 0, err
        assert "Traceback" not in err


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["app.Prodct"], r"names no cached model\. Did you mean 'app\.Product'\? Cached models: app\."),
            (["--hours=0"], "--hours must be between 1 and 24"),
            (["--hours=25"], "--hours must be between 1 and 24"),
            (["--watch=0"], "--watch must be between"),
            (["--count=2"], "--count is how often --watch shows it"),
            (["--watch", "--count=0"], "more than 0"),
        ],
    )
    def test_that_are_wrong_are_said(self, arguments: list[str], message: str) -> None:
        with pytest.raises(CommandError, match=message):
            run("stats", *arguments)

"""``manage.py cacheaside warm`` and ``flush``."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import connections, transaction
from django.test import override_settings

from django_cacheaside.failpoints import armed
from django_cacheaside.management.progress import Progress
from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from django_cacheaside.store.envelope import Found, judge
from tests.app.models import Coded, Product

with_rows = pytest.mark.usefixtures("commits")


@pytest.fixture(params=["default", "sqlite"])
def db_alias(request):
    """Each database in turn; with nothing cached of it."""
    call_command("cacheaside", "flush", "app", database=request.param, verbosity=0)
    return request.param


@pytest.fixture
def products(db_alias):
    """50 rows, none of them cached."""
    return Product.objects.using(db_alias).bulk_create([Product(name=f"lamp {n}", price=n) for n in range(50)])


def place(model: Any, alias: str) -> runtime.Place:
    return runtime.current().place(registry.for_model(model), connections[alias])


def cached_pks(model: Any, alias: str, pks: list[Any]) -> list[Any]:
    """Those whose values a reader would be served."""
    here = place(model, alias)
    assert here.key
    idents = [here.key.ident(pk) for pk in pks]
    seen = [one for rows in runtime.current().store.read(here.space, idents) for one in rows.each()]
    return [pk for pk, one in zip(pks, seen, strict=True) if judge(one.run, one.epoch, one.entry) is Found.HIT]


def pks(rows: list[Any]) -> list[Any]:
    return [row.pk for row in rows]


def run(*arguments: str, **options: Any) -> tuple[str, str]:
    """The command as ``manage.py`` runs it: what it wrote to stdout and to stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("cacheaside", *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


@with_rows
class TestWarm:
    def test_fills_every_row(self, products, db_alias, django_assert_num_queries):
        out, _ = run("warm", "app.Product", database=db_alias)
        assert cached_pks(Product, db_alias, pks(products)) == pks(products)
        assert re.fullmatch(
            r"app\.Product: 50 rows in [\d.]+ s \([\d,]+ rows/s\): 50 filled \([\d,]+ bytes\), 0 cached already\.\n",
            out,
        )
        with django_assert_num_queries(0, connection=connections[db_alias]):
            assert Product.cached.using(db_alias).in_bulk(pks(products))[products[7].pk].name == "lamp 7"

    def test_counts_the_bytes_it_fills(self, products, db_alias):
        source = place(Product, db_alias).source
        assert source
        size = sum(len(source.encode(pk, row)) for pk, row in source.load(pks(products)).items())
        out, _ = run("warm", "app.Product", database=db_alias)
        assert f"({size:,} bytes)" in out

    def test_loads_nothing_that_is_cached(self, products, db_alias, django_assert_num_queries):
        Product.cached.using(db_alias).in_bulk(pks(products)[:30])
        out, _ = run("warm", "app.Product", database=db_alias)
        assert "20 filled" in out
        assert "30 cached already" in out
        with django_assert_num_queries(2, connection=connections[db_alias]) as captured:  # a chunk, and behind the last
            run("warm", "app.Product", "--verbosity", "0", database=db_alias)
        assert not any("name" in query["sql"] for query in captured)

    def test_lists_primary_keys_by_chunks_behind_the_last(self, products, db_alias, django_assert_num_queries):
        with django_assert_num_queries(2 * 5 + 1, connection=connections[db_alias]):
            run("warm", "app.Product", "--chunk-size=10", "-v0", database=db_alias)
        assert cached_pks(Product, db_alias, pks(products)) == pks(products)

    def test_dry_run_fills_nothing(self, products, db_alias):
        Product.cached.using(db_alias).in_bulk(pks(products)[:30])
        out, _ = run("warm", "app.Product", "--dry-run", database=db_alias)
        assert out == "app.Product: 50 rows, 20 to fill, 30 cached already.\n"
        assert len(cached_pks(Product, db_alias, pks(products))) == 30

    def test_goes_on_after_a_primary_key_up_to_a_limit(self, products, db_alias):
        run("warm", "app.Product", f"--after={products[9].pk}", "--limit=15", "--chunk-size=10", database=db_alias)
        assert cached_pks(Product, db_alias, pks(products)) == pks(products[10:25])

    def test_keeps_the_rate(self, products, db_alias):
        begun = time.monotonic()
        run("warm", "app.Product", "--rate=250", "--chunk-size=10", database=db_alias)
        assert time.monotonic() - begun >= 50 / 250

    def test_does_not_fill_what_a_row_was_before_a_write(self, products, db_alias):
        """Between the list of primary keys and the load, and between the load and the fill: never the old row."""
        first, second = products[:2]
        steps = iter([first, second])

        def write():
            row = next(steps)
            Product.objects.using(db_alias).filter(pk=row.pk).update(name="written")

        with armed("before-load", write), armed("before-fill", write):
            run("warm", "app.Product", database=db_alias)
        assert cached_pks(Product, db_alias, pks(products)) == pks(products[2:])
        for row in (first, second):
            assert Product.cached.using(db_alias).get(pk=row.pk).name == "written"

    def test_refuses_to_run_in_a_transaction(self, products, db_alias):
        """It would fill rows that nobody else may see yet."""
        with transaction.atomic(using=db_alias):
            Product.objects.using(db_alias).update(name="uncommitted")
            with pytest.raises(CommandError, match="outside of transactions"):
                run("warm", "app.Product", database=db_alias)
            transaction.set_rollback(True, using=db_alias)
        assert cached_pks(Product, db_alias, pks(products)) == []

    def test_takes_text_primary_keys_in_their_databases_order(self, db_alias):
        codes = ["B", "a", "Z", "é", "-x", "b b"]
        Coded.objects.using(db_alias).bulk_create([Coded(code=code) for code in codes])
        run("warm", "app.Coded", "--chunk-size=1", database=db_alias)
        assert cached_pks(Coded, db_alias, codes) == codes

    def test_takes_an_app_and_says_what_of_it_is_not_cached(self, products, db_alias):
        Coded.objects.using(db_alias).create(code="x")
        out, err = run("warm", "app", "app.Product", database=db_alias)
        warmed = [line.split(":")[0] for line in out.splitlines()]
        assert {"app.Coded", "app.Product"} <= set(warmed)
        assert "app.Priced" not in warmed
        assert warmed.count("app.Product") == 1
        assert f"app.Priced: primary keys of this kind (DecimalField, in {db_alias!r}) are not cached." in err

    def test_takes_an_empty_table(self, db_alias):
        out, _ = run("warm", "app.Coded", database=db_alias)
        assert out == "app.Coded: 0 rows in 0.0 s (0 rows/s): 0 filled (0 bytes), 0 cached already.\n"

    def test_is_silent_if_told_so(self, products, db_alias):
        assert run("warm", "app.Product", "--verbosity", "0", database=db_alias) == ("", "")
        assert run("--verbosity", "0", "warm", "app.Product", database=db_alias) == ("", "")

    def test_fails_if_the_server_does_not_answer(self, products, db_alias, fresh_valkey):
        """A request would read the database and say nothing; who warms wants to know."""
        with server_of(fresh_valkey):
            fresh_valkey.stop()
            with pytest.raises(CommandError, match="The cache server does not answer: "):
                run("warm", "app.Product", database=db_alias)

    def test_says_how_to_go_on_after_the_server_went_away(self, products, db_alias, fresh_valkey):
        chunks = iter([lambda: None, lambda: None, fresh_valkey.stop])
        with server_of(fresh_valkey), armed("before-load", lambda: next(chunks)()):
            err = io.StringIO()
            with pytest.raises(CommandError, match="does not answer"):
                call_command("cacheaside", "warm", "app.Product", "--chunk-size=10", database=db_alias, stderr=err)
        assert err.getvalue() == (
            f"To go on: manage.py cacheaside warm app.Product --database={db_alias} --after={products[19].pk}\n"
        )

    def test_an_interrupt_says_how_to_go_on(self, db_alias):
        """Ctrl-C in a real process: exit code 130, and what is done stays done."""
        rows = Product.objects.using(db_alias).bulk_create([Product(name=f"lamp {n}") for n in range(300)])
        name = connections[db_alias].settings_dict["NAME"]
        # pytest in the background ignores SIGINT, and its children inherit that
        program = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from django.conf import settings
settings.DATABASES[{db_alias!r}]["NAME"] = {str(name)!r}
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
        arguments = ["cacheaside", "warm", "app.Product", f"--database={db_alias}", "--rate=100", "--chunk-size=20"]
        arguments.append("--skip-checks")  # some models of ours are there to be wrong
        with subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while not cached_pks(Product, db_alias, [rows[39].pk]):
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=10)
        assert process.returncode == 130
        found = re.search(r"To go on: manage.py (cacheaside warm app.Product --database=\w+ --after=(\d+))\n", err)
        assert found, err
        assert "Stopped." in err
        assert "Traceback" not in err
        done = [row.pk for row in rows if row.pk <= int(found[2])]
        assert rows[19].pk <= done[-1] < rows[-1].pk
        assert cached_pks(Product, db_alias, done) == done
        run(*found[1].split()[1:])
        assert cached_pks(Product, db_alias, pks(rows)) == pks(rows)


class TestWarmsArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["app.Prodct"], r"names no cached model\. Did you mean 'app\.Product'\? Cached models: app\."),
            (["app.Plain"], "names no cached model"),
            ([], "Name the models"),
            (["app.Priced"], "Nothing to warm"),
            (["app", "--after=5"], "name one"),
            (["app.Product", "--after=lamp"], "--after: .*must be an integer"),
            (["app.Product", "--chunk-size=0"], "--chunk-size must be more than 0"),
            (["app.Product", "--rate=-1"], "--rate must be more than 0"),
            (["app.Product", "--database=nowhere"], "invalid choice: 'nowhere'"),
        ],
    )
    def test_says_what_it_does_not_understand(self, arguments, message):
        with pytest.raises(CommandError, match=message):
            run("warm", *arguments)

    def test_refuses_a_replica(self):
        """It has the keys of its primary, but not yet its rows."""
        connections.settings["replica"] = {**connections.settings["default"]}
        try:
            with pytest.raises(CommandError, match="'replica' may be a replica"):
                run("warm", "app.Product", "--database=replica")
        finally:
            del connections.settings["replica"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class FakeClock:
    """Stands still until it is moved."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep_s(self, duration_s: float, /) -> None:
        self.now_s += duration_s


def drawn(out: io.StringIO, *, seconds: int) -> str:
    """What is written while 1,000 of 8,000 rows are done in each second, shown twice in it."""
    clock = FakeClock()
    progress = Progress(OutputWrapper(out), clock, label="app.Product", total=8000)
    for done in range(1, seconds + 1):
        clock.sleep_s(1)
        progress.show(1000 * done)
        progress.show(1000 * done)
    progress.end()
    return out.getvalue()


class TestProgress:
    def test_is_a_bar_on_a_terminal(self):
        *bars, cleared = drawn(Terminal(), seconds=4).split("\r\x1b[K")[1:]
        assert bars == [
            f"app.Product [{bar:·<24}] {done},000/8,000 rows, {share}%, 1,000 rows/s, 0:00:0{8 - done} left"
            for done, bar, share in ((1, "###", 12), (2, "######", 25), (3, "#########", 38), (4, "#" * 12, 50))
        ]
        assert cleared == ""

    def test_is_a_line_every_few_seconds_elsewhere(self):
        assert drawn(io.StringIO(), seconds=8) == "app.Product: 5,000/8,000 rows, 62%, 1,000 rows/s, 0:00:03 left\n"

    def test_counts_on_where_rows_were_added_meanwhile(self):
        assert drawn(io.StringIO(), seconds=10).endswith("10,000/10,000 rows, 100%, 1,000 rows/s, 0:00:00 left\n")


@with_rows
class TestFlush:
    def test_drops_the_rows_of_a_model_and_of_no_other(self, products, db_alias):
        Coded.objects.using(db_alias).create(code="x")
        run("warm", "app", database=db_alias, verbosity=0)
        out, _ = run("flush", "app.Product", database=db_alias)
        assert out == "Flushed 1 model.\n"
        assert cached_pks(Product, db_alias, pks(products)) == []
        assert cached_pks(Coded, db_alias, ["x"]) == ["x"]

    def test_drops_the_rows_of_an_app(self, products, db_alias):
        run("warm", "app", database=db_alias, verbosity=0)
        out, _ = run("flush", "app", "app.Product", database=db_alias)
        assert re.fullmatch(r"Flushed \d+ models\.\n", out)
        assert cached_pks(Product, db_alias, pks(products)) == []

    def test_takes_the_database_that_is_written_to(self, products, db_alias):
        run("warm", "app.Product", database=db_alias, verbosity=0)
        run("flush", "app.Product")
        left = cached_pks(Product, db_alias, pks(products))
        assert left == ([] if db_alias == "default" else pks(products))

    @pytest.mark.parametrize(("answer", "is_flushed"), [("yes", True), ("no", False), ("", False)])
    def test_all_asks_first(self, products, db_alias, monkeypatch, answer, is_flushed):
        run("warm", "app.Product", database=db_alias, verbosity=0)
        monkeypatch.setattr("builtins.input", lambda question: answer if "all cached rows of" in question else "?")
        out, _ = run("flush", "--all", database=db_alias)
        assert ("Flushed" in out) == is_flushed
        assert ("Flush cancelled." in out) != is_flushed
        assert (cached_pks(Product, db_alias, pks(products)) == []) == is_flushed

    @pytest.mark.parametrize("option", ["--no-input", "--noinput"])
    def test_all_does_not_ask_if_told_so(self, products, db_alias, option):
        run("warm", "app.Product", database=db_alias, verbosity=0)
        out, _ = run("flush", "--all", option, database=db_alias)
        assert out == f"Flushed {len(list(registry))} models.\n"
        assert cached_pks(Product, db_alias, pks(products)) == []


class TestFlushsArguments:
    def test_is_silent_if_told_so(self):
        assert run("flush", "app.Product", "--verbosity=0") == ("", "")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "Name the models to flush, or --all of them"),
            (["app.Product", "--all"], "Name the models to flush, or --all of them"),
            (["shop"], "'shop' names no cached model.*Cached models: "),
        ],
    )
    def test_says_what_it_does_not_understand(self, arguments, message):
        with pytest.raises(CommandError, match=message):
            run("flush", *arguments)

    def test_fails_if_the_server_does_not_answer(self, fresh_valkey):
        """And keeps nothing for later: who asked will ask again."""
        with server_of(fresh_valkey):
            fresh_valkey.stop()
            with pytest.raises(CommandError, match="The cache server does not answer: "):
                run("flush", "app.Product")
            assert runtime.current().invalidator.owes() == []


@contextmanager
def server_of(valkey):
    """Another server behind the cache alias."""
    backend = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": valkey.url}
    with override_settings(CACHES={"default": backend}):
        yield

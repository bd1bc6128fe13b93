"""A writer killed by SIGKILL at each step of its commit: readers see what the database holds, then and afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import redis
from django.db import connections
from django.db.models import F

from django_cacheaside.orm import runtime
from django_cacheaside.orm.registry import registry
from tests.app.models import Product
from tests.servers import VALKEY_URL

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])

WRITES = {
    "in atomic": "with transaction.atomic(using=alias): rows.filter(pk=pk).update(version=1)",
    "in autocommit": "rows.filter(pk=pk).update(version=1)",
    "of unknown rows": "rows.filter(version=0).update(version=1)",
}
POINTS = [
    pytest.param("before-intent", 0, id="before the intent"),
    pytest.param("after-intent", 0, id="between intent and COMMIT"),
    pytest.param("after-commit", 1, id="between COMMIT and release"),
    pytest.param("after-release", 1, id="after the release"),
]


def write_and_die(alias: str, pk: int, write: str, point: str) -> None:
    """In a process of its own, which SIGKILLs itself at a failpoint."""
    program = f"""
import os, signal, django
from django.conf import settings
alias, pk = {alias!r}, {pk}
settings.DATABASES[alias]["NAME"] = {str(connections[alias].settings_dict["NAME"])!r}
django.setup()
from django.db import transaction
from django_cacheaside.failpoints import armed
from tests.app.models import Product
rows = Product.objects.using(alias)
with armed({point!r}, lambda: os.kill(os.getpid(), signal.SIGKILL)):
    {WRITES[write]}
"""
    settings = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    killed = subprocess.run([sys.executable, "-c", program], env=settings, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


@pytest.mark.parametrize("alias", ["default", "sqlite"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(("point", "committed"), POINTS)
def test_is_no_reason_to_read_an_old_row(alias: str, write: str, point: str, committed: int) -> None:
    """Before its intent runs out readers go to the database, and when it has run out the row is cached again."""
    product = Product.objects.using(alias).create(name="lamp", version=0)
    cached = Product.cached.using(alias)
    assert cached.get(pk=product.pk).version == 0
    write_and_die(alias, product.pk, write, point)
    assert Product.objects.using(alias).get(pk=product.pk).version == committed
    assert {cached.get(pk=product.pk).version for _ in range(100)} == {committed}
    assert cached.in_bulk([product.pk])[product.pk].version == committed

    space = runtime.current().place(registry.for_model(Product), connections[alias]).space
    with redis.Redis.from_url(os.environ[VALKEY_URL]) as client:
        for key in (space.entry(str(product.pk)), space.epoch):
            if (client.get(key) or b"").startswith(b"\xcaW"):  # the deadline of a dead writer's intent has come
                client.delete(key)
    assert {cached.get(pk=product.pk).version for _ in range(3)} == {committed}
    Product.objects.using(alias).filter(pk=product.pk).update(version=F("version") + 1)
    assert cached.get(pk=product.pk).version == committed + 1

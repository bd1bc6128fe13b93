"""What ``django.setup()`` loads and touches with us installed, and that the rest is there when it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SETUP = """
import sys, threading
import django
touched = []
sys.addaudithook(lambda event, _: touched.append(event) if event in ("socket.connect", "sqlite3.connect") else None)
django.setup()
"""

WHAT_IS_LOADED = """
ours = ("engine.fetch", "engine.lead", "engine.breaker", "engine.near.cache", "engine.near.space", "store", "keys",
        "management", "testing", "conf.alias", "orm.net", "orm.codec", "orm.runtime", "orm.reading", "orm.commit_work",
        "orm.connection_state")
heavy = ("redis", "hiredis", "msgspec", "django_redis", *(f"django_cacheaside.{room}" for room in ours))
print([name for name in sorted(sys.modules) if any((name + ".").startswith(one + ".") for one in heavy)], touched)
"""

FIRST_READS = """
from django.contrib.auth.models import User
from django.db import connection
from django_cacheaside import cached
assert "redis" not in sys.modules and "django_cacheaside.orm.runtime" not in sys.modules
barrier, names = threading.Barrier(8), []
def read():
    barrier.wait()
    names.append(cached(User).get(pk=1).first_name)
    connection.close()
def write():
    barrier.wait()
    User.objects.filter(pk=2).update(first_name="Eve")
    names.append(cached(User).get(pk=2).first_name)
    connection.close()
threads = [threading.Thread(target=act) for act in (read, write, read, write, read, write, read, write)]
for one in threads: one.start()
for one in threads: one.join()
print(sorted(names))
"""

USERS = """
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
User.objects.create(pk=1, username="ann", first_name="Ann")
User.objects.create(pk=2, username="bob", first_name="Bob")
"""


def run(program: str, cwd: Path, settings: str) -> str:
    """What the program prints behind ``django.setup()``, in a process of its own."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SETUP + program],
        cwd=cwd,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": f"{root}{os.pathsep}{cwd}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_loads_no_client_and_connects_to_nothing() -> None:
    assert run(WHAT_IS_LOADED, Path(__file__).parents[2], "tests.settings") == "[] []"


def test_threads_may_make_the_first_read_at_once(tmp_path: Path, valkey_url: str) -> None:
    (tmp_path / "first_settings.py").write_text(
        "INSTALLED_APPS = ['django.contrib.contenttypes', 'django.contrib.auth', 'django_cacheaside', 'first']\n"
        f"DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': {str(tmp_path / 'db')!r},\n"
        "    'OPTIONS': {'timeout': 30, 'transaction_mode': 'IMMEDIATE'}}}\n"
        "CACHES = {'default': {'BACKEND': 'django_redis.cache.RedisCache',\n"
        f"    'LOCATION': {valkey_url!r}, 'KEY_PREFIX': 'first'}}}}\n"
        "CACHEASIDE = {'TIMEOUT': 5, 'CONNECT_TIMEOUT': 5}\n"
    )
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "__init__.py").touch()
    (tmp_path / "first" / "apps.py").write_text(
        "from django.apps import AppConfig\n"
        "class First(AppConfig):\n"
        "    name = 'first'\n"
        "    def ready(self):\n"
        "        from django.contrib.auth.models import User\n"
        "        from django_cacheaside import register\n"
        "        register(User)\n"
    )
    run(USERS, tmp_path, "first_settings")
    assert run(FIRST_READS, tmp_path, "first_settings") == str(["Ann"] * 4 + ["Eve"] * 4)

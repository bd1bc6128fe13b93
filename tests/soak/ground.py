"""Own servers, and a Django that uses them. Importable before there are settings."""

from __future__ import annotations

import os
from contextlib import ExitStack

import psycopg

from example_project.embedded import EmbeddedValkey
from tests.postgres import EmbeddedPostgres


def set_up(stack: ExitStack) -> EmbeddedValkey:
    """Own servers, Django, tables, rows. Everything ends with the stack, or with this process."""
    postgres = stack.enter_context(EmbeddedPostgres())
    valkey = stack.enter_context(EmbeddedValkey())
    host = str(postgres.directory)
    os.environ.update(
        DJANGO_SETTINGS_MODULE="tests.soak.settings",
        CACHEASIDE_TEST_PG_HOST=host,
        CACHEASIDE_TEST_PG_PORT="",
        CACHEASIDE_TEST_PG_USER="postgres",
        CACHEASIDE_TEST_PG_PASSWORD="",
        CACHEASIDE_TEST_VALKEY_URL=valkey.url,
    )
    with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE cacheaside")
    import django

    django.setup()
    from django.core.management import call_command

    from tests.soak.acts import SEQUENCE, sql
    from tests.soak.models import make_rows

    call_command("migrate", run_syncdb=True, verbosity=0)
    sql(f"CREATE SEQUENCE {SEQUENCE}")
    make_rows()
    return valkey

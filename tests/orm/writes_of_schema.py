"""Migrations that alter a cached table: what a column of that name held before must not be served any more."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models

from tests.app.catalog import Draft
from tests.orm.world import MODEL
from tests.orm.writes import Form
from tests.orm.writes_by_django import migrate, migration_forms


def text(**options: Any) -> models.Field[Any, Any]:
    """A column of the table."""
    return models.CharField(max_length=50, **options)


def renew(field: str, column: models.Field[Any, Any]) -> list[migrations.operations.base.Operation]:
    """Drop a column, and add one of the same name."""
    return [migrations.RemoveField("draft", field), migrations.AddField("draft", field, column)]


# Each leaves the table with the columns that the model knows: others use it afterwards.
SCHEMA_FORMS: dict[str, Form] = migration_forms(
    {
        "AddField and RemoveField": (
            lambda db, draft: migrate(
                db,
                migrations.AddField("draft", "extra", text(default="extra")),
                migrations.RemoveField("draft", "extra"),
            ),
            {Draft: MODEL},
        ),
        "RemoveField and AddField": (
            lambda db, draft: migrate(db, *renew("name", text(default="new", null=True))),
            {Draft: MODEL},
        ),
        "RenameField and AddField": (
            lambda db, draft: migrate(
                db,
                migrations.RenameField("draft", "name", "title"),
                migrations.AddField("draft", "name", text(default="new", null=True)),
                migrations.RemoveField("draft", "title"),
            ),
            {Draft: MODEL},
        ),
        "AlterField fills NULLs": (
            lambda db, untitled: migrate(
                db,
                migrations.AlterField("draft", "name", text(default="new")),
                migrations.AlterField("draft", "name", text(default="old", null=True)),
            ),
            {Draft: MODEL},
        ),
        "AlterField changes the type": (
            lambda db, draft: (
                migrate(
                    db,
                    migrations.AlterField("draft", "size", models.BooleanField(default=True)),
                    migrations.AlterField("draft", "size", models.IntegerField(default=1)),
                )
                if db == "sqlite"
                else migrate(
                    db,
                    migrations.AlterField(
                        "draft", "size", models.DecimalField(max_digits=9, decimal_places=2, default=1)
                    ),
                    migrations.AlterField("draft", "size", models.IntegerField(default=1)),
                )
            ),
            {Draft: MODEL},
        ),
        "RenameModel": (
            lambda db, draft: migrate(
                db,
                migrations.RenameModel("Draft", "Sketch"),
                migrations.RunPython(
                    lambda historical, editor: (
                        historical.get_model("app", "Sketch").objects.using(db).update(name="new")
                    )
                ),
                migrations.RenameModel("Sketch", "Draft"),
            ),
            {Draft: MODEL},
        ),
        "AlterModelTable": (
            lambda db, draft: migrate(
                db,
                migrations.AlterModelTable("draft", "app_other"),
                migrations.RunSQL("UPDATE app_other SET name = 'new'"),
                migrations.AlterModelTable("draft", "app_draft"),
            ),
            {Draft: MODEL},
        ),
        "DeleteModel and CreateModel": (
            lambda db, draft: migrate(
                db,
                migrations.DeleteModel("Draft"),
                migrations.CreateModel(
                    "Draft",
                    [
                        ("id", models.BigAutoField(primary_key=True)),
                        ("name", text(null=True, default="old")),
                        ("size", models.IntegerField(default=1)),
                    ],
                ),
            ),
            {Draft: MODEL},
        ),
        "columns and rows in one migration": (
            lambda db, draft: migrate(
                db,
                migrations.RunPython(
                    lambda historical, editor: (
                        historical.get_model("app", "Draft").objects.using(db).filter(pk=draft.pk).update(name="new")
                    )
                ),
                *renew("size", models.IntegerField(default=7)),
            ),
            {Draft: MODEL},
        ),
    },
    is_early=True,
)

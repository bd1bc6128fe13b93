"""The columns are other ones of the same names, and the rows are written."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def fill(apps: Any, editor: Any) -> None:
    """By the historical model."""
    apps.get_model("app", "Draft").objects.using(editor.connection.alias).update(size=7)


class Migration(migrations.Migration):
    dependencies = [("app", "initial")]
    operations = [
        migrations.RenameField("draft", "name", "title"),
        migrations.AddField("draft", "name", models.CharField(max_length=50, default="new", null=True)),
        migrations.RemoveField("draft", "title"),
        migrations.RunPython(fill),
    ]

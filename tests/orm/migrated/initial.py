"""The table as it is."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            "Draft",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=50, default="old", null=True)),
                ("size", models.IntegerField(default=1)),
            ],
        )
    ]

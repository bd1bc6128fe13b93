"""Nothing that a cached model reads."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("app", "renewed")]
    operations = [migrations.RunSQL("SELECT 1")]

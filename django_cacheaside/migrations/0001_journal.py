from django.db import migrations, models
from django.utils import timezone


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="JournalEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("keys", models.BinaryField()),
                ("spaces", models.TextField()),
                ("recorded_at", models.DateTimeField(default=timezone.now)),
                ("due_at", models.DateTimeField(null=True)),
                ("failure", models.TextField(default="")),
            ],
            options={"verbose_name": "journal entry", "verbose_name_plural": "journal entries"},
        ),
    ]

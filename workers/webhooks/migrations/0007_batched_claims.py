from django.contrib.postgres.operations import (
    AddIndexConcurrently,
    RemoveIndexConcurrently,
)
from django.db import migrations, models


class Migration(migrations.Migration):
    # Big tables stay writable while the indexes are made.
    atomic = False

    dependencies = [
        ("webhooks", "0006_defaults_for_older_code"),
    ]

    operations = [
        migrations.AddField(
            model_name="webhookdelivery",
            name="process",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=200
            ),
        ),
        AddIndexConcurrently(
            model_name="webhookdelivery",
            index=models.Index(
                models.F("process"),
                condition=models.Q(("is_claimed", True)),
                name="delivery_of_process",
            ),
        ),
        # Older code reads it for its condition alone, which the new one has as well.
        RemoveIndexConcurrently(
            model_name="webhookdelivery",
            name="delivery_in_hand",
        ),
    ]

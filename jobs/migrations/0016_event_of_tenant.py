"""The streams' index takes the place of the one on the tenant alone."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # built without stopping those who write events

    dependencies = [
        ("jobs", "0015_event_xid"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="event",
            index=models.Index(
                models.F("tenant"),
                models.F("xid"),
                models.F("id"),
                name="event_of_tenant",
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="tenant",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                to="jobs.tenant",
            ),
        ),
    ]

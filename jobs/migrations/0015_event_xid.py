"""The column alone: its default is evaluated once, so no row is rewritten."""

from django.db import migrations

import jobs.models.transaction_ids


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0014_defaults_for_older_code"),
    ]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE jobs_event"
            " ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()",
            "ALTER TABLE jobs_event DROP COLUMN xid",
            state_operations=[
                migrations.AddField(
                    model_name="event",
                    name="xid",
                    field=jobs.models.transaction_ids.TransactionIdField(),
                ),
            ],
        ),
    ]

"""Deliveries that are being retried go on where their schedule was."""

from django.db import migrations

FORWARD = """
UPDATE webhooks_webhookdelivery SET step = attempts WHERE status = 'pending'
"""


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0003_circuits_and_replays")]
    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]

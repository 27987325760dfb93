"""Say in each attempt whose it is and what was asked, as its job has it."""

from django.db import migrations

_FILL = """
UPDATE jobs_attempt SET tenant_id = job.tenant_id,
  model = left(coalesce(job.options ->> 'model', ''), 100)
FROM jobs_job job WHERE job.id = job_id AND jobs_attempt.tenant_id IS NULL
"""


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0008_quotas'),
    ]

    operations = [
        migrations.RunSQL(_FILL, migrations.RunSQL.noop),
    ]

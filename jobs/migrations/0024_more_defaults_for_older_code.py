"""What code that is older than a column needs to go on writing rows beside newer code.

Whose an attempt is, no default can say: it is its job's tenant. The trigger is called
only where nothing was given, so newer code does not pay for it.
"""

from django.db import migrations, models


_TENANT_OF_ITS_JOB = """
CREATE FUNCTION jobs_attempt_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  SELECT tenant_id INTO NEW.tenant_id FROM jobs_job WHERE id = NEW.job_id;
  RETURN NEW;
END $$;
CREATE TRIGGER attempt_of_older_code BEFORE INSERT ON jobs_attempt
FOR EACH ROW WHEN (NEW.tenant_id IS NULL) EXECUTE FUNCTION jobs_attempt_tenant();
"""
_NO_TENANT = """
DROP TRIGGER attempt_of_older_code ON jobs_attempt;
DROP FUNCTION jobs_attempt_tenant();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0023_audit_log"),
    ]

    operations = [
        migrations.RunSQL(_TENANT_OF_ITS_JOB, _NO_TENANT),
        migrations.AlterField(
            model_name="apikey",
            name="allowed_ips",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
            ),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="model",
            field=models.CharField(blank=True, db_default="", max_length=100),
        ),
    ]

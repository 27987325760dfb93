"""The counters that quotas are checked against: a copy of what the rows say."""

from django.db import models


class QuotaCounter(models.Model):
    """What a tenant has used and reserved in one period.

    ``open`` counts jobs that have not ended; ``day:2026-11-25`` and ``month:2026-11``
    count seconds of audio of the jobs submitted then.
    """

    tenant = models.ForeignKey(
        "jobs.Tenant", models.CASCADE, related_name="counters", db_index=False
    )
    period = models.CharField(max_length=16)
    # Decimals add up; floats would drift with every job that comes and goes.
    used = models.DecimalField(max_digits=16, decimal_places=3, default=0)
    reserved = models.DecimalField(max_digits=16, decimal_places=3, default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", "period", name="quota_counter"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.period}"

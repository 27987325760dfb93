"""Quota counters, derived from jobs and attempts."""

from django.db import models


class QuotaCounter(models.Model):
    """A tenant's used and reserved quota of one period.

    ``open`` counts jobs that have not ended; ``day:2026-11-25`` and ``month:2026-11``
    count the audio seconds of jobs submitted in that period.
    """

    tenant = models.ForeignKey(
        "jobs.Tenant", models.CASCADE, related_name="counters", db_index=False
    )
    period = models.CharField(max_length=16)
    # Decimals, because sums of floats would drift.
    used = models.DecimalField(max_digits=16, decimal_places=3, default=0)
    reserved = models.DecimalField(max_digits=16, decimal_places=3, default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", "period", name="quota_counter"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.period}"

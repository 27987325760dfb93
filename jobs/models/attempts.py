"""Attempts: the ledger of all calls to Deepgram."""

from django.db import models
from django.db.models import F, Q

from jobs.models.ids import new_id
from jobs.models.jobs import Job
from jobs.models.regions import Region
from jobs.models.tenants import Tenant


class Attempt(models.Model):
    """One call to Deepgram: saved as open before it, closed after it in any case.

    Has its own tenant and model, so that usage adds up after its job is erased.
    """

    class Outcome(models.TextChoices):
        """``unknown``: the worker died during the call; it counts as an attempt."""

        OPEN = "open"
        OK = "ok"
        ERROR = "error"
        UNKNOWN = "unknown"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    job = models.ForeignKey(Job, models.CASCADE, related_name="attempts")
    tenant = models.ForeignKey(
        Tenant, models.PROTECT, related_name="attempts", db_index=False
    )
    model = models.CharField(max_length=100, blank=True, db_default="")
    lease_token = models.PositiveIntegerField()
    region = models.ForeignKey(Region, models.PROTECT)
    worker = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=8, choices=Outcome, default=Outcome.OPEN)
    request_id = models.CharField(max_length=64, blank=True)
    # The job's trace id, to find the call in logs and spans.
    trace_id = models.CharField(max_length=32, blank=True, default="", db_default="")
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    # The uploaded audio: the whole file, or one track copied out of it.
    sent_bytes = models.BigIntegerField(null=True, blank=True)
    sent_type = models.CharField(max_length=100, blank=True, default="", db_default="")
    audio_seconds = models.FloatField(null=True, blank=True)
    cost_estimate = models.DecimalField(
        max_digits=12, decimal_places=6, null=True, blank=True
    )
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    # When Deepgram's request log revealed the outcome of an unknown call.
    reconciled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            # One call per claim: a message delivered twice costs once.
            models.UniqueConstraint("job", "lease_token", name="attempt_of_claim"),
            models.CheckConstraint(
                name="attempt_open_iff_unfinished",
                condition=Q(outcome="open", finished_at__isnull=True)
                | ~Q(outcome="open") & Q(finished_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index("region", "started_at", name="attempt_recent"),
            models.Index("tenant", "started_at", name="attempt_of_tenant"),
            # Lookup by Deepgram's request id.
            models.Index(
                "request_id", name="attempt_request", condition=~Q(request_id="")
            ),
            models.Index(
                F("id").desc(),
                name="attempt_not_ok",
                condition=Q(outcome__in=["error", "unknown"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_id}.{self.lease_token}"

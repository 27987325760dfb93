"""Batches: jobs that are submitted and managed together."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from jobs.models.ids import new_id
from jobs.models.tenants import ApiKey, Tenant


class BatchState(models.TextChoices):
    """Whether all jobs of the batch are saved; until then they are hidden.

    A batch that is ``dropped`` before it opened is deleted, slice by slice.
    """

    PREPARING = "preparing"
    OPEN = "open"
    DROPPED = "dropped"


class Batch(models.Model):
    """Jobs submitted together, with counters and events of their own.

    The fan-out updates the counters, in the transaction that marks an event.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="batches")
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, blank=True)
    metadata = models.JSONField(default=dict)
    # Receives the batch's own events; its jobs have callback URLs of their own.
    callback_url = models.TextField(blank=True)
    total = models.PositiveIntegerField()
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    canceled = models.PositiveIntegerField(default=0)
    expired = models.PositiveIntegerField(default=0)
    # The percentage in the last progress event.
    told_percent = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(
        max_length=10,
        choices=BatchState,
        default=BatchState.OPEN,
        db_default=BatchState.OPEN,
    )
    # The batch whose failed jobs this one retries.
    retry_of = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="retries"
    )
    # The deadline of its jobs; each job has it too.
    expires_at = models.DateTimeField(null=True, blank=True)
    # Number of invalid manifest lines that were skipped.
    skipped = models.PositiveIntegerField(default=0, db_default=0)

    # Sums over its ended jobs, and two samples of the counters to measure the pace.
    audio_seconds = models.FloatField(default=0, db_default=0)
    cost_estimate = models.DecimalField(
        max_digits=14, decimal_places=6, default=0, db_default=0
    )
    pace_from = models.DateTimeField(null=True, blank=True)
    pace_from_done = models.PositiveIntegerField(default=0, db_default=0)
    pace_at = models.DateTimeField(null=True, blank=True)
    pace_at_done = models.PositiveIntegerField(default=0, db_default=0)

    # Requested changes to its jobs, which ``jobs.batches.sweeper`` applies in slices.
    is_paused = models.BooleanField(default=False, db_default=False)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    wanted_priority = models.PositiveSmallIntegerField(null=True, blank=True)
    # When the sweeper has work (null: none), and the last job it processed.
    work_at = models.DateTimeField(null=True, blank=True)
    work_after = models.UUIDField(null=True, blank=True)
    # Another pass is needed: a job may have been requeued during this one.
    work_again = models.BooleanField(default=False, db_default=False)
    # The last job whose ``job.queued`` event was published; null after all were.
    told_after = models.UUIDField(null=True, blank=True)
    # When the last of its jobs was erased, and with it the batch's own data.
    erased_at = models.DateTimeField(null=True, blank=True)
    # The trace of its own events: see jobs.telemetry.tracing.
    traceparent = models.CharField(max_length=55, blank=True, default="", db_default="")

    class Meta:
        verbose_name_plural = "batches"
        constraints = [
            models.CheckConstraint(
                name="batch_erased_holds_nothing",
                condition=Q(erased_at__isnull=True) | Q(metadata={}, callback_url=""),
            ),
            models.CheckConstraint(
                name="batch_finished_iff_all_done",
                condition=Q(
                    finished_at__isnull=True,
                    total__gt=F("completed")
                    + F("failed")
                    + F("canceled")
                    + F("expired"),
                )
                | Q(
                    finished_at__isnull=False,
                    total=F("completed") + F("failed") + F("canceled") + F("expired"),
                ),
            ),
        ]
        indexes = [
            models.Index("tenant", F("id").desc(), name="batch_of_tenant"),
            models.Index(
                "work_at", name="batch_work", condition=Q(work_at__isnull=False)
            ),
            # Batches with hidden jobs, and paused ones: usually none.
            models.Index(
                "tenant", name="batch_hidden", condition=~Q(state=BatchState.OPEN)
            ),
            models.Index("id", name="batch_paused", condition=Q(is_paused=True)),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def done(self) -> int:
        """Number of its jobs with a final status."""
        return self.completed + self.failed + self.canceled + self.expired


class BatchError(models.Model):
    """One error of a manifest line that was skipped."""

    batch = models.ForeignKey(
        Batch, models.CASCADE, related_name="errors", db_index=False
    )
    line = models.PositiveIntegerField()
    pointer = models.CharField(max_length=300, blank=True)
    code = models.CharField(max_length=60)
    detail = models.TextField()
    # The start of the line; erased with the batch's data.
    excerpt = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = [models.Index("batch", "line", "id", name="batch_error_line")]

    def __str__(self) -> str:
        return f"{self.batch_id}:{self.line}"

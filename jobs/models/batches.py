"""Batches: many jobs with one life."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from jobs.models.ids import new_id
from jobs.models.tenants import ApiKey, Tenant


class BatchState(models.TextChoices):
    """Whether its jobs are all written: until then nobody sees them.

    What is ``dropped`` before it opened is deleted, slice by slice.
    """

    PREPARING = "preparing"
    OPEN = "open"
    DROPPED = "dropped"


class Batch(models.Model):
    """Jobs submitted together, counted as they end; told of as one.

    The counters are the fan-out's: an event is counted in the commit that marks it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="batches")
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, blank=True)
    metadata = models.JSONField(default=dict)
    # Who is told of the batch itself; its jobs have callback URLs of their own.
    callback_url = models.TextField(blank=True)
    total = models.PositiveIntegerField()
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    canceled = models.PositiveIntegerField(default=0)
    expired = models.PositiveIntegerField(default=0)
    # The last share of its jobs, in percent, that somebody was told of.
    told_percent = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(
        max_length=10,
        choices=BatchState,
        default=BatchState.OPEN,
        db_default=BatchState.OPEN,
    )
    # Whose failed jobs these are again.
    retry_of = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="retries"
    )
    # When what is not done by then is given up; each of its jobs has it, too.
    expires_at = models.DateTimeField(null=True, blank=True)
    # How many lines of its manifest were wrong and left out.
    skipped = models.PositiveIntegerField(default=0, db_default=0)

    # What its ended jobs came to, and two looks at the counters to tell the pace by.
    audio_seconds = models.FloatField(default=0, db_default=0)
    cost_estimate = models.DecimalField(
        max_digits=14, decimal_places=6, default=0, db_default=0
    )
    pace_from = models.DateTimeField(null=True, blank=True)
    pace_from_done = models.PositiveIntegerField(default=0, db_default=0)
    pace_at = models.DateTimeField(null=True, blank=True)
    pace_at_done = models.PositiveIntegerField(default=0, db_default=0)

    # What somebody wants of all its jobs; ``jobs.batches.sweeper`` does it in slices.
    is_paused = models.BooleanField(default=False, db_default=False)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    wanted_priority = models.PositiveSmallIntegerField(null=True, blank=True)
    # When there is something to do (null: nothing), and the job it has got to.
    work_at = models.DateTimeField(null=True, blank=True)
    work_after = models.UUIDField(null=True, blank=True)
    # Whether to go over them once more: a job may have come back meanwhile.
    work_again = models.BooleanField(default=False, db_default=False)
    # The last job whose coming was told of; null once all were.
    told_after = models.UUIDField(null=True, blank=True)
    # Since the last of its jobs was erased; what was said of it is gone, too.
    erased_at = models.DateTimeField(null=True, blank=True)
    # The trace that its own events belong to: see jobs.telemetry.tracing.
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
            # Whose jobs nobody sees yet, and whose jobs are held: usually none.
            models.Index(
                "tenant", name="batch_hidden", condition=~Q(state=BatchState.OPEN)
            ),
            models.Index("id", name="batch_paused", condition=Q(is_paused=True)),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def done(self) -> int:
        """How many of its jobs have ended, however."""
        return self.completed + self.failed + self.canceled + self.expired


class BatchError(models.Model):
    """One thing that was wrong with a line that was left out of its batch."""

    batch = models.ForeignKey(
        Batch, models.CASCADE, related_name="errors", db_index=False
    )
    line = models.PositiveIntegerField()
    pointer = models.CharField(max_length=300, blank=True)
    code = models.CharField(max_length=60)
    detail = models.TextField()
    # How the line begins; erased with what else the batch holds.
    excerpt = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = [models.Index("batch", "line", "id", name="batch_error_line")]

    def __str__(self) -> str:
        return f"{self.batch_id}:{self.line}"

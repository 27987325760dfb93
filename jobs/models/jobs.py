"""Jobs, and stored objects of erased jobs."""

from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from jobs.models.batches import Batch
from jobs.models.ids import new_id
from jobs.models.regions import Region
from jobs.models.tenants import ApiKey, Tenant
from jobs.state import FINAL, OPEN, JobStatus

# The code of the warning that an upload's duration is not exact.
DURATION_ESTIMATED = "duration_estimated"
# Statuses that operators search for among many completed jobs.
NOT_DONE = sorted(FINAL - {JobStatus.COMPLETED})


class Priority(models.IntegerChoices):
    """Lower runs first; the values are the priority steps of Celery's Redis transport.

    https://docs.celeryq.dev/en/stable/userguide/routing.html#redis-message-priorities
    """

    URGENT = 0
    HIGH = 3
    NORMAL = 6
    LOW = 9


class Mode(models.TextChoices):
    """How a job was submitted."""

    ASYNC = "async"
    SYNC = "sync"
    LIVE = "live"


class Content(models.IntegerChoices):
    """Content of a job with its own retention period; one bit each."""

    AUDIO = 1
    TRANSCRIPT = 2
    PAYLOAD = 4

    @property
    def setting(self) -> str:
        """The name of its period in days, for tenants and jobs."""
        return f"{self.name.lower()}_days"

    @classmethod
    def everything(cls) -> int:
        """Return all bits."""
        return sum(cls)


class CallbackStyle(models.TextChoices):
    """A webhook event, or Deepgram's response document by POST or PUT."""

    WEBHOOK = "webhook"
    DEEPGRAM = "deepgram"
    DEEPGRAM_PUT = "deepgram_put"


WITHOUT_AUDIO = [
    erased for erased in range(Content.everything() + 1) if erased & Content.AUDIO
]


class Job(models.Model):
    """One transcription, prerecorded or live."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="jobs")
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, blank=True)
    batch = models.ForeignKey(
        Batch,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="jobs",
        db_index=False,
    )
    # The customer's id within the batch, if any.
    custom_id = models.CharField(max_length=128, blank=True, default="", db_default="")
    # Line in the batch's manifest.
    line = models.PositiveIntegerField(null=True, blank=True)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.ASYNC)
    retry_of = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="retries"
    )

    # The audio: a URL, or an object in storage.
    audio_url = models.TextField(blank=True)
    upload = models.CharField(max_length=300, blank=True)
    filename = models.CharField(max_length=255, blank=True)
    content_type = models.CharField(max_length=100, blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    duration_seconds = models.FloatField(null=True, blank=True)
    channels = models.PositiveSmallIntegerField(null=True, blank=True)
    is_silent = models.BooleanField(null=True, blank=True)
    options = models.JSONField(default=dict)
    metadata = models.JSONField(default=dict)
    callback_url = models.TextField(blank=True)
    # The format and method of the callback.
    callback_style = models.CharField(
        max_length=16,
        choices=CallbackStyle,
        default=CallbackStyle.WEBHOOK,
        db_default=CallbackStyle.WEBHOOK,
    )

    # Why its mode was chosen (jobs.routing.hybrid_router); empty if it was fixed.
    route = models.JSONField(
        default=dict, blank=True, db_default=Value({}, models.JSONField())
    )

    # When it may run. Jobs that are not ``ready`` are not in the claim index; a queued
    # one becomes ready at ``run_at``, or stays on hold if that is null.
    status = models.CharField(
        max_length=10, choices=JobStatus, default=JobStatus.QUEUED
    )
    priority = models.PositiveSmallIntegerField(
        choices=Priority, default=Priority.NORMAL
    )
    # The routing key: see jobs.routing.routing_keys.
    lane = models.CharField(max_length=300, default="*")
    ready = models.BooleanField(default=True)
    run_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    # Seconds reserved under its tenant's quotas; null: nothing was reserved.
    reserved_seconds = models.DecimalField(
        max_digits=12, decimal_places=3, null=True, blank=True
    )

    # Its claim. The token increases with every claim and fences off late writers.
    region = models.ForeignKey(Region, models.SET_NULL, null=True, blank=True)
    worker = models.CharField(max_length=200, blank=True)
    lease_token = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=5)
    crashes = models.PositiveSmallIntegerField(default=0)

    # Its trace (W3C traceparent): see jobs.telemetry.tracing.
    traceparent = models.CharField(max_length=55, blank=True, default="", db_default="")

    # Its outcome.
    error_code = models.CharField(max_length=60, blank=True)
    error_detail = models.TextField(blank=True)
    warnings = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # From then on a tombstone without customer data.
    erased_at = models.DateTimeField(null=True, blank=True)

    # Its own retention periods in days, the erased kinds of content (bits of Content),
    # and when the next of its own periods ends: see jobs.retention.retention.
    retention = models.JSONField(
        default=dict, blank=True, db_default=Value({}, models.JSONField())
    )
    erased_content = models.PositiveSmallIntegerField(default=0, db_default=0)
    content_due_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="job_final_has_finished_at",
                condition=Q(status__in=sorted(FINAL), finished_at__isnull=False)
                | Q(status__in=sorted(OPEN), finished_at__isnull=True),
            ),
            models.CheckConstraint(
                name="job_processing_has_lease",
                condition=~Q(status=JobStatus.PROCESSING)
                | Q(lease_until__isnull=False, region__isnull=False),
            ),
            models.CheckConstraint(
                name="job_one_source",
                condition=Q(audio_url="") ^ Q(upload="")
                | Q(mode=Mode.LIVE)
                | Q(erased_at__isnull=False)
                | Q(erased_content__in=WITHOUT_AUDIO),
            ),
            models.CheckConstraint(
                name="job_erased_holds_nothing",
                condition=Q(erased_at__isnull=True)
                | Q(
                    status__in=sorted(FINAL),
                    audio_url="",
                    upload="",
                    filename="",
                    sha256="",
                    metadata={},
                    callback_url="",
                    error_detail="",
                ),
            ),
            models.CheckConstraint(
                name="job_error_iff_failed",
                condition=Q(status=JobStatus.FAILED) ^ Q(error_code=""),
            ),
            models.CheckConstraint(
                name="job_started_only_if_claimed",
                condition=Q(started_at__isnull=True) | Q(lease_token__gt=0),
            ),
        ]
        indexes = [
            # The claim: only jobs that can run now, in their order.
            models.Index(
                "lane",
                "tenant",
                "priority",
                "id",
                name="job_claim",
                condition=Q(status=JobStatus.QUEUED, ready=True),
            ),
            models.Index(
                "run_at",
                name="job_waiting",
                condition=Q(status=JobStatus.QUEUED, ready=False),
            ),
            models.Index(
                "lease_until",
                name="job_leased",
                condition=Q(status=JobStatus.PROCESSING),
            ),
            models.Index(
                "expires_at",
                name="job_expiring",
                condition=Q(status__in=sorted(OPEN), expires_at__isnull=False),
            ),
            models.Index("tenant", F("id").desc(), name="job_of_tenant"),
            models.Index(
                "batch",
                "id",
                name="job_of_batch",
                condition=Q(batch__isnull=False),
            ),
            models.Index("upload", name="job_upload", condition=~Q(upload="")),
            # Jobs for retention, oldest first.
            models.Index(
                "tenant",
                "finished_at",
                name="job_retained",
                condition=Q(finished_at__isnull=False, erased_at__isnull=True),
            ),
            # The same, by the kinds of content that are erased.
            models.Index(
                "tenant",
                "erased_content",
                "finished_at",
                name="job_content_kept",
                condition=Q(finished_at__isnull=False, erased_at__isnull=True),
            ),
            models.Index(
                "content_due_at",
                name="job_content_due",
                condition=Q(content_due_at__isnull=False),
            ),
            # Recent ends with status and duration, by an index-only scan.
            models.Index(
                "finished_at",
                name="job_ended",
                include=["status", "created_at"],
                condition=Q(finished_at__isnull=False),
            ),
            # Operators' searches; partial, so that most jobs do not pay for them.
            models.Index(
                F("id").desc(), name="job_not_done", condition=Q(status__in=NOT_DONE)
            ),
            models.Index(F("id").desc(), name="job_live", condition=Q(mode=Mode.LIVE)),
            models.Index("custom_id", name="job_named", condition=~Q(custom_id="")),
            # Filters of the customers' list, newest first. Most jobs are asynchronous
            # and end without an error: their list needs no index of its own.
            models.Index(
                "tenant",
                "custom_id",
                F("id").desc(),
                name="job_list_custom_id",
                condition=~Q(custom_id=""),
            ),
            models.Index(
                "tenant",
                "mode",
                F("id").desc(),
                name="job_list_mode",
                condition=~Q(mode=Mode.ASYNC),
            ),
            models.Index(
                "tenant",
                "region",
                F("id").desc(),
                name="job_list_region",
                condition=Q(region__isnull=False),
            ),
            models.Index(
                "tenant",
                "error_code",
                F("id").desc(),
                name="job_list_error_code",
                condition=~Q(error_code=""),
            ),
            # Only jobs of tenants with quotas.
            models.Index(
                "tenant",
                name="job_reserved",
                condition=Q(status__in=sorted(OPEN), reserved_seconds__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def is_final(self) -> bool:
        """Whether its status is final."""
        return self.status in FINAL

    @property
    def exact_duration_seconds(self) -> float | None:
        """Its duration unless it is an estimate, which must not cause a rejection."""
        codes = {each.get("code") for each in self.warnings}
        return None if DURATION_ESTIMATED in codes else self.duration_seconds

    def has_erased(self, *contents: Content) -> bool:
        """Return whether any of these is erased."""
        return any(self.erased_content & content for content in contents)


class ObjectToErase(models.Model):
    """A stored object to delete; saved with the erasure, deleted with the object."""

    name = models.CharField(max_length=300, unique=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name

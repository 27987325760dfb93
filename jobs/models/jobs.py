"""What: jobs."""

from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from jobs.models.batches import Batch
from jobs.models.ids import new_id
from jobs.models.regions import Region
from jobs.models.tenants import ApiKey, Tenant
from jobs.state import FINAL, OPEN, JobStatus

# What an operator looks for among a million that went well.
NOT_DONE = sorted(FINAL - {JobStatus.COMPLETED})


class Priority(models.IntegerChoices):
    """Lower is sooner, as on the Redis transport, whose steps these are."""

    URGENT = 0
    HIGH = 3
    NORMAL = 6
    LOW = 9


class Mode(models.TextChoices):
    """The door a job came through."""

    ASYNC = "async"
    SYNC = "sync"
    LIVE = "live"


class Content(models.IntegerChoices):
    """What a job holds that may go before the job does; a bit each."""

    AUDIO = 1
    TRANSCRIPT = 2
    PAYLOAD = 4

    @property
    def setting(self) -> str:
        """What its days are called, of tenants and of jobs."""
        return f"{self.name.lower()}_days"

    @classmethod
    def everything(cls) -> int:
        """Return all the bits."""
        return sum(cls)


class CallbackStyle(models.TextChoices):
    """A webhook of ours, or Deepgram's own document by POST or PUT."""

    WEBHOOK = "webhook"
    DEEPGRAM = "deepgram"
    DEEPGRAM_PUT = "deepgram_put"


WITHOUT_AUDIO = [
    gone for gone in range(Content.everything() + 1) if gone & Content.AUDIO
]


class Job(models.Model):
    """One transcription, whichever door it came through."""

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
    # What its batch calls it; "" where it does not.
    custom_id = models.CharField(max_length=128, blank=True, default="", db_default="")
    # Where it stands in its batch's manifest.
    line = models.PositiveIntegerField(null=True, blank=True)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.ASYNC)
    retry_of = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="retries"
    )

    # What to transcribe: a URL, or an object in storage.
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
    # What its callback URL is told, and how.
    callback_style = models.CharField(
        max_length=16,
        choices=CallbackStyle,
        default=CallbackStyle.WEBHOOK,
        db_default=CallbackStyle.WEBHOOK,
    )

    # Why it came to run the way it did (jobs.routing.hybrid_router); empty if it had no choice.
    route = models.JSONField(
        default=dict, blank=True, db_default=Value({}, models.JSONField())
    )

    # When it may run. ``ready`` keeps what cannot run now out of the claim index;
    # a queued job that is not ready becomes so at ``run_at``, or is held if null.
    status = models.CharField(
        max_length=10, choices=JobStatus, default=JobStatus.QUEUED
    )
    priority = models.PositiveSmallIntegerField(
        choices=Priority, default=Priority.NORMAL
    )
    # The regions it may run in, and the narrow pools it needs: see jobs.routing.routing_keys.
    lane = models.CharField(max_length=300, default="*")
    ready = models.BooleanField(default=True)
    run_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    # What it was let in for under its tenant's quotas; null: nothing was reserved.
    reserved_seconds = models.DecimalField(
        max_digits=12, decimal_places=3, null=True, blank=True
    )

    # Who runs it. The token rises with every claim and fences late writers.
    region = models.ForeignKey(Region, models.SET_NULL, null=True, blank=True)
    worker = models.CharField(max_length=200, blank=True)
    lease_token = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=5)
    crashes = models.PositiveSmallIntegerField(default=0)

    # The trace it belongs to, W3C's way: see jobs.telemetry.tracing.
    traceparent = models.CharField(max_length=55, blank=True, default="", db_default="")

    # How it ended.
    error_code = models.CharField(max_length=60, blank=True)
    error_detail = models.TextField(blank=True)
    warnings = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Since then a tombstone: what the ledger needs, and nothing of the customer's.
    erased_at = models.DateTimeField(null=True, blank=True)

    # Days that it asked for itself, which kinds of content are gone (bits of Content),
    # and when the next of its own is due: see jobs.retention.retention.
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
            # The claim: only what can run now, in the order it should.
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
            # What retention has still to look at, oldest first.
            models.Index(
                "tenant",
                "finished_at",
                name="job_retained",
                condition=Q(finished_at__isnull=False, erased_at__isnull=True),
            ),
            # The same, by which kinds of content are gone already.
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
            # What ended of late, how, and after how long, off the index alone.
            models.Index(
                "finished_at",
                name="job_ended",
                include=["status", "created_at"],
                condition=Q(finished_at__isnull=False),
            ),
            # What operators look for; what goes the usual way pays nothing for them.
            models.Index(
                F("id").desc(), name="job_not_done", condition=Q(status__in=NOT_DONE)
            ),
            models.Index(F("id").desc(), name="job_live", condition=Q(mode=Mode.LIVE)),
            models.Index("custom_id", name="job_named", condition=~Q(custom_id="")),
            # Only of tenants with quotas: the others' jobs pay nothing for it.
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
        """Whether nothing more will happen to it."""
        return self.status in FINAL

    def has_erased(self, *contents: Content) -> bool:
        """Tell whether any of these is gone."""
        return any(self.erased_content & content for content in contents)

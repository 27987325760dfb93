"""What work there is and in what state: one row for one thing.

Fields, constraints and filters only. The one writer of ``Job.status`` is
``jobs.services.advance``; nothing here talks to a queue, a socket or a clock.
"""

from uuid import UUID

import uuid_utils.compat
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from jobs.quota_counters import QuotaCounter as QuotaCounter  # noqa: PLC0414  a re-export
from jobs.state import FINAL, OPEN, JobStatus
from jobs.transaction_ids import TransactionIdField


def new_id() -> UUID:
    """Return a time-ordered id (UUIDv7, RFC 9562), so that indexes grow at one end."""
    return uuid_utils.compat.uuid7()


class Tenant(models.Model):
    """A customer: the unit of isolation, fairness and quota."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200, unique=True)
    default_options = models.JSONField(default=dict, blank=True)
    is_active = models.BooleanField(default=True)
    # Its share of what is in flight, against the other tenants' weights.
    weight = models.PositiveIntegerField(default=1)
    max_in_flight = models.PositiveIntegerField(null=True, blank=True)
    # Null: as the settings say; 0: no limit.
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    # Quotas, checked at submit; null is no limit. See jobs.quotas.
    max_open_jobs = models.PositiveIntegerField(null=True, blank=True)
    audio_seconds_per_day = models.PositiveIntegerField(null=True, blank=True)
    audio_seconds_per_month = models.PositiveIntegerField(null=True, blank=True)
    highest_priority = models.PositiveSmallIntegerField(default=0)
    # Where its audio may go; empty means anywhere.
    allowed_regions = models.JSONField(default=list, blank=True)
    is_paused = models.BooleanField(default=False)
    # Ended jobs are erased after so many days: null as the platform does, 0 never.
    retention_days = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(weight__gte=1), name="tenant_weight"),
        ]

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """A credential of a tenant; the secret itself is never stored."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=200, blank=True)
    public_id = models.CharField(max_length=16, unique=True)
    # SHA-256 is enough: the secret has 238 bits of entropy, nothing to stretch.
    digest = models.BinaryField(max_length=32)
    scopes = models.JSONField(default=list)
    # Addresses and CIDR blocks it may come from; empty means anywhere.
    allowed_ips = models.JSONField(default=list, blank=True)
    # The key that takes its place, and works beside it until this one expires.
    replaced_by = models.OneToOneField(
        "self", models.SET_NULL, null=True, blank=True, related_name="replaces"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.public_id


class Region(models.Model):
    """An upstream and what it allows; the operator's will is a row, never a key."""

    name = models.CharField(max_length=40, primary_key=True)
    base_url = models.URLField(max_length=500)
    # The name of the setting that holds the key, never the key.
    key_setting = models.CharField(max_length=100, default="DEEPGRAM_API_KEY")
    max_concurrent = models.PositiveIntegerField(default=100)
    max_per_minute = models.PositiveIntegerField(default=980)
    # Narrower limits of single features at once: {"diarize": 25, "entities": 5}.
    pools = models.JSONField(default=dict, blank=True)
    weight = models.PositiveIntegerField(default=1)
    is_enabled = models.BooleanField(default=True)
    # Drained: what runs there ends, nothing new begins.
    is_drained = models.BooleanField(default=False)
    # Pinned: whatever may run here runs nowhere else.
    is_pinned = models.BooleanField(default=False)
    # Set when the upstream refused our key or credit; nothing is sent until then.
    paused_until = models.DateTimeField(null=True, blank=True)
    paused_reason = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(weight__gte=1), name="region_weight"),
        ]

    def __str__(self) -> str:
        return self.name


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
    # Since the last of its jobs was erased; what was said of it is gone, too.
    erased_at = models.DateTimeField(null=True, blank=True)

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
        indexes = [models.Index("tenant", F("id").desc(), name="batch_of_tenant")]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def done(self) -> int:
        """How many of its jobs have ended, however."""
        return self.completed + self.failed + self.canceled + self.expired


class CallbackStyle(models.TextChoices):
    """A webhook of ours, or Deepgram's own document by POST or PUT."""

    WEBHOOK = "webhook"
    DEEPGRAM = "deepgram"
    DEEPGRAM_PUT = "deepgram_put"


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

    # Why it came to run the way it did (jobs.hybrid_router); empty if it had no choice.
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
    # The regions it may run in, and the narrow pools it needs: see jobs.lanes.
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

    # How it ended.
    error_code = models.CharField(max_length=60, blank=True)
    error_detail = models.TextField(blank=True)
    warnings = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Since then a tombstone: what the ledger needs, and nothing of the customer's.
    erased_at = models.DateTimeField(null=True, blank=True)

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
                | Q(erased_at__isnull=False),
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


class StreamTicket(models.Model):
    """Leave to open one live socket, for whoever cannot send a header: a browser."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, db_index=False)
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True)
    digest = models.BinaryField(max_length=32, unique=True)
    # What the session was asked to be: options, metadata, callback URL.
    draft = models.JSONField(default=dict)
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return str(self.id)


class Attempt(models.Model):
    """One upstream call: written open before it, closed whatever happens.

    It says by itself whose it is and what was asked, so that the ledger adds up
    whatever is erased of its job.
    """

    class Outcome(models.TextChoices):
        """``unknown``: the worker died in the call; it counts as spent."""

        OPEN = "open"
        OK = "ok"
        ERROR = "error"
        UNKNOWN = "unknown"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    job = models.ForeignKey(Job, models.CASCADE, related_name="attempts")
    tenant = models.ForeignKey(
        Tenant, models.PROTECT, related_name="attempts", db_index=False
    )
    model = models.CharField(max_length=100, blank=True)
    lease_token = models.PositiveIntegerField()
    region = models.ForeignKey(Region, models.PROTECT)
    worker = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=8, choices=Outcome, default=Outcome.OPEN)
    request_id = models.CharField(max_length=64, blank=True)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    audio_seconds = models.FloatField(null=True, blank=True)
    cost_estimate = models.DecimalField(
        max_digits=12, decimal_places=6, null=True, blank=True
    )
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    # When the upstream's own log told how an unknown call ended.
    reconciled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            # One call for one claim: a message delivered twice spends once.
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
        ]

    def __str__(self) -> str:
        return f"{self.job_id}.{self.lease_token}"


class Event(models.Model):
    """Something that happened: audit trail, and outbox of what customers are told."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # None: it concerns the operator alone, as the steering of a region does.
    tenant = models.ForeignKey(
        Tenant, models.CASCADE, null=True, blank=True, db_index=False
    )
    job = models.ForeignKey(
        Job, models.CASCADE, null=True, blank=True, related_name="events"
    )
    batch = models.ForeignKey(
        Batch, models.CASCADE, null=True, blank=True, db_index=False
    )
    type = models.CharField(max_length=40)
    data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    actor = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    # Null only while somebody has still to be told.
    fanned_out_at = models.DateTimeField(null=True, blank=True)
    # What event streams are ordered by: see jobs.event_stream.
    xid = TransactionIdField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="event_told_to_a_tenant",
                condition=Q(fanned_out_at__isnull=False) | Q(tenant__isnull=False),
            ),
        ]
        indexes = [
            models.Index(
                "id", name="event_outbox", condition=Q(fanned_out_at__isnull=True)
            ),
            models.Index(
                "batch", name="event_of_batch", condition=Q(batch__isnull=False)
            ),
            models.Index("tenant", "xid", "id", name="event_of_tenant"),
            # What somebody did; submits are left out, which the jobs themselves show.
            models.Index(
                "tenant",
                F("id").desc(),
                name="event_audit",
                condition=~Q(actor="") & ~Q(type="job.queued"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Worker(models.Model):
    """A live worker process, by its own word; gone when ``seen_at`` is old."""

    name = models.CharField(max_length=200, primary_key=True)
    queues = models.JSONField(default=list)
    slots = models.PositiveIntegerField()
    busy = models.PositiveIntegerField(default=0)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class IdempotencyKey(models.Model):
    """A request answered once; committed together with what it made."""

    tenant = models.ForeignKey(Tenant, models.CASCADE)
    route = models.CharField(max_length=100)
    key = models.CharField(max_length=255)
    digest = models.BinaryField(max_length=32)
    status_code = models.PositiveSmallIntegerField()
    body = models.JSONField(encoder=DjangoJSONEncoder)
    location = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    # When what it answered with was erased; the key itself stays used.
    erased_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", "route", "key", name="idempotency_key"),
        ]
        indexes = [
            models.Index("created_at", name="idempotency_age"),
            models.Index("location", name="idempotency_location"),
        ]

    def __str__(self) -> str:
        return self.key


class ObjectToErase(models.Model):
    """An object in storage whose row is erased; committed with that, gone with it."""

    name = models.CharField(max_length=300, unique=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name

"""Models of webhook endpoints, secrets, deliveries, attempts and recoveries."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from jobs.models import Event, Job, Tenant, new_id

# The largest ``max_concurrent``, so that one endpoint cannot occupy every thread.
MAX_CONCURRENT_LIMIT = 50
# The condition of the dispatcher's queries for due deliveries.
_WAITING = Q(next_attempt_at__isnull=False, is_held=False)


class WebhookEndpoint(models.Model):
    """A tenant's URL that receives events.

    A disabled endpoint receives nothing, and its pending deliveries are discarded.
    A deleted endpoint loses its URL, headers and secrets; the row stays for the log.
    """

    class Payload(models.TextChoices):
        """``thin`` messages contain only the result's URL."""

        FULL = "full"
        THIN = "thin"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE)
    url = models.TextField()
    description = models.CharField(max_length=200, blank=True)
    # Subscribed event types; empty means all.
    event_types = models.JSONField(default=list, blank=True)
    payload = models.CharField(
        max_length=4, choices=Payload, default=Payload.FULL, db_default=Payload.FULL
    )
    # The customer's own headers: name to encrypted value.
    headers = models.JSONField(
        default=dict, blank=True, db_default=Value({}, models.JSONField())
    )
    # Maximum concurrent requests.
    max_concurrent = models.PositiveSmallIntegerField(default=10, db_default=10)
    is_enabled = models.BooleanField(default=True)
    # Set when the platform disabled the endpoint; empty when its tenant did.
    disabled_reason = models.CharField(max_length=40, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    # Failed attempts since the last success, and the time of the first.
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    # The circuit breaker: 0 when closed, else the current wait before a trial.
    trial_wait_seconds = models.PositiveIntegerField(default=0, db_default=0)
    # When the dispatcher releases a trial or the held deliveries; null: none.
    trial_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(
                "trial_at",
                name="endpoint_trial_due",
                condition=Q(trial_at__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="endpoint_max_concurrent",
                condition=Q(
                    max_concurrent__gte=1, max_concurrent__lte=MAX_CONCURRENT_LIMIT
                ),
            ),
            models.CheckConstraint(
                name="endpoint_deleted_keeps_nothing",
                condition=Q(deleted_at__isnull=True)
                | Q(is_enabled=False, url="", headers={}),
            ),
            models.CheckConstraint(
                name="endpoint_enabled_has_no_reason",
                condition=Q(is_enabled=False)
                | Q(disabled_reason="", disabled_at__isnull=True),
            ),
            models.CheckConstraint(
                name="endpoint_failing_iff_failures",
                condition=Q(failures=0) ^ Q(failing_since__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def held_reason(self) -> str | None:
        """Why its deliveries are held; None if its circuit is closed."""
        return "failing" if self.trial_wait_seconds else None

    @property
    def held_until(self) -> datetime | None:
        """When a held delivery is tried next; None if the next one is tried at once."""
        return self.trial_at if self.trial_wait_seconds else None


class WebhookSecret(models.Model):
    """An encrypted signing secret of an endpoint, or the tenant's default without one.

    The current secret has no ``expires_at``. Rotated ones also sign until theirs.
    """

    tenant = models.ForeignKey(Tenant, models.CASCADE)
    endpoint = models.ForeignKey(
        WebhookEndpoint, models.CASCADE, null=True, blank=True, related_name="secrets"
    )
    ciphertext = models.BinaryField()
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "tenant",
                name="current_secret_of_tenant",
                condition=Q(endpoint__isnull=True, expires_at__isnull=True),
            ),
            models.UniqueConstraint(
                "endpoint",
                name="current_secret_of_endpoint",
                condition=Q(endpoint__isnull=False, expires_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class WebhookRecovery(models.Model):
    """A tenant's request to send an endpoint's undelivered messages again."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE)
    since = models.DateTimeField()
    until = models.DateTimeField()
    # The number of deliveries restarted, and whether the limit left some out.
    number = models.PositiveIntegerField(default=0)
    has_more = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "webhook recoveries"

    def __str__(self) -> str:
        return str(self.id)


class Trigger(models.TextChoices):
    """Why an attempt is made: the schedule, a request, or a circuit trial."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    TRIAL = "trial"


class WebhookDelivery(models.Model):
    """The delivery of one event to one target: an endpoint or a job's callback URL.

    A final delivery keeps its status while it is redelivered.
    """

    class Status(models.TextChoices):
        """``failed``: retries exhausted. ``discarded``: given up on purpose."""

        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"
        DISCARDED = "discarded"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, db_index=False)
    event = models.ForeignKey(Event, models.CASCADE, related_name="deliveries")
    job = models.ForeignKey(Job, models.CASCADE, null=True, blank=True)
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, null=True, blank=True)
    # The job's callback URL if there is no endpoint.
    url = models.TextField(blank=True)
    # The key of its slot share: the endpoint, or the tenant and callback host.
    target = models.CharField(max_length=300)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    # The exact bytes, stored at the first attempt; each attempt has a new signature.
    body = models.BinaryField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    # The position in the retry schedule; manual attempts do not advance it.
    step = models.PositiveSmallIntegerField(default=0, db_default=0)
    # The next attempt; while claimed, the expiry of the claim.
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    trigger = models.CharField(
        max_length=10,
        choices=Trigger,
        default=Trigger.SCHEDULED,
        db_default=Trigger.SCHEDULED,
    )
    # When the schedule resumes after a failed manual attempt.
    scheduled_at = models.DateTimeField(null=True, blank=True)
    is_claimed = models.BooleanField(default=False)
    # The worker process that has the claim; "" if any process of an older version may.
    process = models.CharField(max_length=200, blank=True, default="", db_default="")
    # Excluded from claims because the endpoint's circuit is open.
    is_held = models.BooleanField(default=False, db_default=False)
    # Incremented by each claim: a fencing token against late writers.
    claim_token = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    recovery = models.ForeignKey(
        WebhookRecovery, models.SET_NULL, null=True, blank=True, db_index=False
    )

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(
                "event",
                "endpoint",
                name="delivery_per_endpoint",
                condition=Q(endpoint__isnull=False),
            ),
            models.UniqueConstraint(
                "event",
                name="delivery_per_callback",
                condition=Q(endpoint__isnull=True),
            ),
            models.CheckConstraint(
                name="delivery_one_target",
                condition=Q(url="") ^ Q(endpoint__isnull=True),
            ),
            models.CheckConstraint(
                name="delivery_pending_iff_scheduled",
                condition=Q(
                    status="pending",
                    next_attempt_at__isnull=False,
                    finished_at__isnull=True,
                )
                | ~Q(status="pending")
                & Q(finished_at__isnull=False)
                & (Q(next_attempt_at__isnull=True) | Q(trigger="manual")),
            ),
            models.CheckConstraint(
                name="delivery_claimed_or_held_only_if_scheduled",
                condition=Q(is_claimed=False, is_held=False)
                | Q(next_attempt_at__isnull=False)
                & (Q(is_claimed=False) | Q(is_held=False)),
            ),
        ]
        indexes = [
            # Queried ten times a second for anything due.
            models.Index("next_attempt_at", name="delivery_due", condition=_WAITING),
            # The first few due deliveries of each target.
            models.Index(
                "target",
                "next_attempt_at",
                name="delivery_due_of_target",
                condition=_WAITING,
            ),
            # Counted at each claim, and searched for processes that died.
            models.Index(
                "process", name="delivery_of_process", condition=Q(is_claimed=True)
            ),
            models.Index(
                "endpoint",
                "next_attempt_at",
                name="delivery_held",
                condition=Q(is_held=True),
            ),
            models.Index(
                "recovery",
                name="delivery_recovered",
                condition=Q(recovery__isnull=False),
            ),
            models.Index("tenant", F("id").desc(), name="delivery_of_tenant"),
            # Undelivered messages, for operators.
            models.Index(
                F("id").desc(),
                name="delivery_not_taken",
                condition=Q(status__in=["failed", "discarded"]),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class DeliveryAttempt(models.Model):
    """One POST: the response, or the error code if there was none."""

    delivery = models.ForeignKey(WebhookDelivery, models.CASCADE, related_name="log")
    claim_token = models.PositiveIntegerField()
    trigger = models.CharField(
        max_length=10,
        choices=Trigger,
        default=Trigger.SCHEDULED,
        db_default=Trigger.SCHEDULED,
    )
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=60, blank=True)
    response_excerpt = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "delivery", "claim_token", name="delivery_attempt_of_claim"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} {self.status_code or self.error}"

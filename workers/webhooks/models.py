"""Who is told, what, and each try at telling."""

from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from jobs.models import Event, Job, Tenant, new_id

# The most that an endpoint may ask for, so that none can ask for every thread.
MAX_CONCURRENT_LIMIT = 50
# What the dispatcher looks through for what is due.
_WAITING = Q(next_attempt_at__isnull=False, is_held=False)


class WebhookEndpoint(models.Model):
    """A URL of a tenant that wants to hear of events.

    One that is switched off, by its tenant or by us, gets nothing and owes nothing.
    A deleted one keeps neither URL nor headers nor secrets: only the log names it.
    """

    class Payload(models.TextChoices):
        """``thin``: told that there is a result and where, never the result."""

        FULL = "full"
        THIN = "thin"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE)
    url = models.TextField()
    description = models.CharField(max_length=200, blank=True)
    # Event types it wants; empty means all.
    event_types = models.JSONField(default=list, blank=True)
    payload = models.CharField(
        max_length=4, choices=Payload, default=Payload.FULL, db_default=Payload.FULL
    )
    # The customer's own headers: name to encrypted value.
    headers = models.JSONField(
        default=dict, blank=True, db_default=Value({}, models.JSONField())
    )
    # How many messages it is sent at once.
    max_concurrent = models.PositiveSmallIntegerField(default=10, db_default=10)
    is_enabled = models.BooleanField(default=True)
    # Why and when we switched it off; both empty when its tenant did.
    disabled_reason = models.CharField(max_length=40, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    # Failed attempts since the last success, and when the first of them was.
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    # The circuit: closed at 0, else how long the last wait for a trial was made.
    trial_wait_seconds = models.PositiveIntegerField(default=0, db_default=0)
    # When the dispatcher lets a trial go, or what it held back; null: nothing to do.
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


class WebhookSecret(models.Model):
    """A signing secret, encrypted; without an endpoint it is the tenant's default.

    The current one has no end. Rotated ones sign beside it until their grace is over.
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
    """A tenant's wish to have an endpoint's undelivered messages sent once more."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE)
    since = models.DateTimeField()
    until = models.DateTimeField()
    # How many it took up, and whether there were more than one may.
    number = models.PositiveIntegerField(default=0)
    has_more = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "webhook recoveries"

    def __str__(self) -> str:
        return str(self.id)


class Trigger(models.TextChoices):
    """Why an attempt is made: its time came, somebody asked, the circuit is tried."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    TRIAL = "trial"


class WebhookDelivery(models.Model):
    """One event on its way to one target: an endpoint, or a job's callback URL.

    A final one that somebody wants sent again keeps its status meanwhile.
    """

    class Status(models.TextChoices):
        """``discarded``: given up on purpose, not for want of an answer."""

        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"
        DISCARDED = "discarded"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, db_index=False)
    event = models.ForeignKey(Event, models.CASCADE, related_name="deliveries")
    job = models.ForeignKey(Job, models.CASCADE, null=True, blank=True)
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, null=True, blank=True)
    # The job's callback URL where there is no endpoint.
    url = models.TextField(blank=True)
    # Whose share of the slots it takes: the endpoint, or a tenant's callback host.
    target = models.CharField(max_length=300)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    # The exact bytes, from the first attempt on; each attempt signs them anew.
    body = models.BinaryField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    # How far the schedule is; manual attempts do not move it.
    step = models.PositiveSmallIntegerField(default=0, db_default=0)
    # The next try, or while one runs the end of its claim.
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    trigger = models.CharField(
        max_length=10,
        choices=Trigger,
        default=Trigger.SCHEDULED,
        db_default=Trigger.SCHEDULED,
    )
    # Where the schedule goes on after a manual attempt that failed.
    scheduled_at = models.DateTimeField(null=True, blank=True)
    is_claimed = models.BooleanField(default=False)
    # Due, but its endpoint's circuit is open.
    is_held = models.BooleanField(default=False, db_default=False)
    # Rises with every claim and fences late writers.
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
            # Whether anything is due at all, asked ten times a second.
            models.Index("next_attempt_at", name="delivery_due", condition=_WAITING),
            # The first few due of each target, however many one of them has.
            models.Index(
                "target",
                "next_attempt_at",
                name="delivery_due_of_target",
                condition=_WAITING,
            ),
            models.Index(
                "target", name="delivery_in_hand", condition=Q(is_claimed=True)
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
            # What did not arrive, for operators; most do.
            models.Index(
                F("id").desc(),
                name="delivery_not_taken",
                condition=Q(status__in=["failed", "discarded"]),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class DeliveryAttempt(models.Model):
    """One POST: what was answered, or why nothing was."""

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

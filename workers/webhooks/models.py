"""Who is told, what, and each try at telling."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from jobs.models import Event, Job, Tenant, new_id

# The most that an endpoint may ask for, so that none can ask for every thread.
MAX_CONCURRENT_LIMIT = 50


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
    payload = models.CharField(max_length=4, choices=Payload, default=Payload.FULL)
    # The customer's own headers: name to encrypted value.
    headers = models.JSONField(default=dict, blank=True)
    # How many messages it is sent at once.
    max_concurrent = models.PositiveSmallIntegerField(default=10)
    is_enabled = models.BooleanField(default=True)
    # Why and when we switched it off; both empty when its tenant did.
    disabled_reason = models.CharField(max_length=40, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    # Failed attempts since the last success, and when the first of them was.
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
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


class WebhookDelivery(models.Model):
    """One event on its way to one target: an endpoint, or a job's callback URL."""

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
    # The exact bytes of a message that has to be sent again; they are signed anew.
    body = models.BinaryField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    # The next try, or while one runs the end of its claim.
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    is_claimed = models.BooleanField(default=False)
    # Rises with every claim and fences late writers.
    claim_token = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
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
                & Q(next_attempt_at__isnull=True, finished_at__isnull=False),
            ),
            models.CheckConstraint(
                name="delivery_claimed_only_if_pending",
                condition=Q(is_claimed=False) | Q(status="pending"),
            ),
            models.CheckConstraint(
                name="delivery_final_keeps_no_body",
                condition=Q(status="pending") | Q(body__isnull=True),
            ),
        ]
        indexes = [
            # Whether anything is due at all, asked ten times a second.
            models.Index(
                "next_attempt_at", name="delivery_due", condition=Q(status="pending")
            ),
            # The first few due of each target, however many one of them has.
            models.Index(
                "target",
                "next_attempt_at",
                name="delivery_due_of_target",
                condition=Q(status="pending"),
            ),
            models.Index(
                "target", name="delivery_in_hand", condition=Q(is_claimed=True)
            ),
            models.Index("tenant", F("id").desc(), name="delivery_of_tenant"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class DeliveryAttempt(models.Model):
    """One POST: what was answered, or why nothing was."""

    delivery = models.ForeignKey(WebhookDelivery, models.CASCADE, related_name="log")
    claim_token = models.PositiveIntegerField()
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

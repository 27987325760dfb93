"""Tenants, their API keys and quota counters."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from jobs.models.ids import new_id


class Tenant(models.Model):
    """A customer: the unit of isolation, fairness and quota."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200, unique=True)
    default_options = models.JSONField(default=dict, blank=True)
    # A value of ``jobs.options.UnknownOptions``; "" is the platform's policy.
    unknown_options = models.CharField(
        max_length=6,
        choices=[(each, each) for each in ("refuse", "ignore", "pass")],
        blank=True,
        default="",
        db_default="",
    )
    is_active = models.BooleanField(default=True)
    # Its share of in-flight jobs, relative to other tenants' weights.
    weight = models.PositiveIntegerField(default=1)
    max_in_flight = models.PositiveIntegerField(null=True, blank=True)
    # Null: the platform's default; 0: no limit.
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    # Quotas, checked at submit; null is no limit. See jobs.quotas.quotas.
    max_open_jobs = models.PositiveIntegerField(null=True, blank=True)
    audio_seconds_per_day = models.PositiveIntegerField(null=True, blank=True)
    audio_seconds_per_month = models.PositiveIntegerField(null=True, blank=True)
    highest_priority = models.PositiveSmallIntegerField(default=0)
    # Regions that may process its audio; empty means any.
    allowed_regions = models.JSONField(default=list, blank=True)
    is_paused = models.BooleanField(default=False)
    # Days until ended jobs are erased; null: the platform's default, 0: never.
    retention_days = models.PositiveIntegerField(null=True, blank=True)
    # Shorter periods of content; null: the job's. See jobs.retention.retention.
    audio_days = models.PositiveSmallIntegerField(null=True, blank=True)
    transcript_days = models.PositiveSmallIntegerField(null=True, blank=True)
    payload_days = models.PositiveSmallIntegerField(null=True, blank=True)
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
    # SHA-256 suffices: with 238 bits of entropy the secret needs no key stretching.
    digest = models.BinaryField(max_length=32)
    scopes = models.JSONField(default=list)
    # Addresses and CIDR blocks from which it is accepted; empty means any.
    allowed_ips = models.JSONField(
        default=list, blank=True, db_default=models.Value([], models.JSONField())
    )
    # The key that replaces it; both work until this one expires.
    replaced_by = models.OneToOneField(
        "self", models.SET_NULL, null=True, blank=True, related_name="replaces"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return self.public_id


class QuotaCounter(models.Model):
    """A tenant's used and reserved quota of one period.

    ``open`` counts jobs that have not ended; ``day:2026-11-25`` and ``month:2026-11``
    count the audio seconds of jobs submitted in that period.
    """

    tenant = models.ForeignKey(
        Tenant, models.CASCADE, related_name="counters", db_index=False
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

"""Regions: the Deepgram endpoints."""

from django.db import models
from django.db.models import Q

# The value of ``Region.max_per_minute`` without a rate limit. Deepgram publishes only
# limits of concurrency: https://developers.deepgram.com/reference/api-rate-limits
NO_RATE_LIMIT = 1_000_000_000


class Region(models.Model):
    """A Deepgram endpoint, its limits and the operator's settings."""

    name = models.CharField(max_length=40, primary_key=True)
    base_url = models.URLField(max_length=500)
    # The name of the setting that holds the key, never the key.
    key_setting = models.CharField(max_length=100, default="DEEPGRAM_API_KEY")
    max_concurrent = models.PositiveIntegerField(default=100)
    max_per_minute = models.PositiveIntegerField(default=980)
    # Concurrent live sessions, which Deepgram limits apart from prerecorded calls.
    max_streams = models.PositiveIntegerField(default=50, db_default=50)
    # Concurrency limits of single features: {"diarize": 25, "entities": 5}.
    pools = models.JSONField(default=dict, blank=True)
    weight = models.PositiveIntegerField(default=1)
    is_enabled = models.BooleanField(default=True)
    # Drained: running calls end, no new ones start.
    is_drained = models.BooleanField(default=False)
    # Pinned: jobs that may run here run in no unpinned region.
    is_pinned = models.BooleanField(default=False)
    # Set when Deepgram refused the key or credit; no calls until then.
    paused_until = models.DateTimeField(null=True, blank=True)
    paused_reason = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(weight__gte=1), name="region_weight"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_rate_limit(self) -> bool:
        """Whether calls per minute are limited."""
        return self.max_per_minute < NO_RATE_LIMIT

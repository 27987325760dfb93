"""Where: the upstreams."""

from django.db import models
from django.db.models import Q


class Region(models.Model):
    """An upstream and what it allows; the operator's will is a row, never a key."""

    name = models.CharField(max_length=40, primary_key=True)
    base_url = models.URLField(max_length=500)
    # The name of the setting that holds the key, never the key.
    key_setting = models.CharField(max_length=100, default="DEEPGRAM_API_KEY")
    max_concurrent = models.PositiveIntegerField(default=100)
    max_per_minute = models.PositiveIntegerField(default=980)
    # Live sessions at once; Deepgram counts them apart from prerecorded calls.
    max_streams = models.PositiveIntegerField(default=50, db_default=50)
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

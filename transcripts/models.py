"""Models of transcripts: transcript, search entry, live finals."""

from collections.abc import Mapping
from typing import Any

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from jobs.models import Job, Tenant


class LiveFinal(models.Model):
    """A final result of a running live session; deleted when the session ends.

    Stored before it is sent to the customer, so that a killed process loses none. A
    repeated result is the same row.
    """

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(
        Job, models.CASCADE, related_name="live_finals", db_index=False
    )
    seq = models.PositiveIntegerField()
    channel = models.PositiveSmallIntegerField()
    start = models.FloatField()
    end = models.FloatField()
    speech_final = models.BooleanField()
    # Deepgram's alternative as JSON text, with times from the start of the session. Not
    # jsonb: an invalid value must not fail the insert of other sessions.
    alternative = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint("job", "seq", name="live_final_of_session"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} {self.seq}"


class Transcript(models.Model):
    """The queryable fields of a result; the full document is in object storage.

    Of the words only the packed starts are stored, for search: 100 kB of JSON would
    cost the database more than the rest of the job.
    """

    job = models.OneToOneField(
        Job, models.CASCADE, primary_key=True, related_name="transcript"
    )
    text = models.TextField(blank=True)
    language = models.CharField(max_length=20, blank=True)
    model = models.CharField(max_length=100, blank=True)
    confidence = models.FloatField(null=True, blank=True)
    duration_seconds = models.FloatField()
    channels = models.PositiveSmallIntegerField()
    words = models.PositiveIntegerField()
    request_id = models.CharField(max_length=64, blank=True)
    # Storage name of the gzipped JSON, exactly as Deepgram sent it.
    raw = models.CharField(max_length=300)
    created_at = models.DateTimeField(default=timezone.now)
    # Three bytes per word of the text: see word_times.
    starts = models.BinaryField(
        default=b"", db_default=Value(b"", models.BinaryField())
    )
    # False for rows of versions before search: see indexing.
    is_indexed = models.BooleanField(default=False, db_default=False)

    class Meta:
        indexes = [
            models.Index(
                "job", name="transcript_unindexed", condition=Q(is_indexed=False)
            )
        ]

    def __str__(self) -> str:
        return str(self.job_id)

    def find_language(self, options: Mapping[str, Any]) -> str | None:
        """Return the detected language, else that of the job's options, or None."""
        requested = options.get("language")
        if self.language or not isinstance(requested, str):
            return self.language or None
        return None if requested == "multi" else requested


class SearchEntry(models.Model):
    """The search index entry of a transcript: its words and its filter values.

    A narrow row, so that half a tenant's rows are scanned in milliseconds: the vector
    is stored out of line and read only to rank. Filter values are in the vector too, as
    tokens that no query can contain (``=t:`` and the tenant), so that one index covers
    the whole condition.
    """

    transcript = models.OneToOneField(
        Transcript, models.CASCADE, primary_key=True, related_name="search_entry"
    )
    tenant = models.ForeignKey(Tenant, models.CASCADE, db_index=False)
    created_at = models.DateTimeField()
    confidence = models.FloatField(null=True, blank=True)
    # The text search configuration of the words.
    config = models.CharField(max_length=20)
    # The version of transcripts.search.normalization; older code writes the first.
    rule = models.PositiveSmallIntegerField(default=1, db_default=1)
    search = SearchVectorField()

    class Meta:
        verbose_name_plural = "search entries"
        indexes = [
            # A short pending list: every search reads it in full.
            GinIndex("search", name="search_words", gin_pending_list_limit=512),
            models.Index("tenant", F("transcript").desc(), name="search_newest"),
            models.Index("tenant", "config", name="search_configs"),
            models.Index("transcript", name="search_outdated", condition=Q(rule__lt=2)),
        ]

    def __str__(self) -> str:
        return str(self.transcript_id)

"""What came out of a job."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from jobs.models import Job, Tenant


class LiveFinal(models.Model):
    """A final result of a live session that still runs; gone with its end.

    What was told to a customer as final is here first, so that a killed process loses
    none of it. A repeat of one is the same row.
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
    # Deepgram's alternative as JSON, its times on the session's clock. Plain text: what
    # the database finds wrong with one session's must not keep out the others'.
    alternative = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint("job", "seq", name="live_final_of_session"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} {self.seq}"


class Transcript(models.Model):
    """What is queried of a result; the whole document lies in storage.

    Of the words only their starts are here, packed, for search: a hundred kilobytes of
    JSON in the row would cost the database more than everything else about the job.
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
    # Gzipped JSON in storage, exactly as Deepgram sent it.
    raw = models.CharField(max_length=300)
    created_at = models.DateTimeField(default=timezone.now)
    # Three bytes for each word of the text: see word_times.
    starts = models.BinaryField(
        default=b"", db_default=Value(b"", models.BinaryField())
    )
    # Not yet: written by code that knew nothing of search; see indexing.
    is_indexed = models.BooleanField(default=False, db_default=False)

    class Meta:
        indexes = [
            models.Index(
                "job", name="transcript_unindexed", condition=Q(is_indexed=False)
            )
        ]

    def __str__(self) -> str:
        return str(self.job_id)


class SearchEntry(models.Model):
    """What a transcript is found by: its words, and facts that hold or do not.

    Narrow, so that half a tenant's rows are looked through in milliseconds: the vector
    is stored apart and read only to rank. Facts are in it too, as words that nobody can
    type (``=t:`` and the tenant), so that one index has the whole condition.
    """

    transcript = models.OneToOneField(
        Transcript, models.CASCADE, primary_key=True, related_name="search_entry"
    )
    tenant = models.ForeignKey(Tenant, models.CASCADE, db_index=False)
    created_at = models.DateTimeField()
    confidence = models.FloatField(null=True, blank=True)
    # The text search configuration that the words went through.
    config = models.CharField(max_length=20)
    search = SearchVectorField()

    class Meta:
        verbose_name_plural = "search entries"
        indexes = [
            # Merged into the tree in small steps: what waits is read by every search.
            GinIndex("search", name="search_words", gin_pending_list_limit=512),
            models.Index("tenant", F("transcript").desc(), name="search_newest"),
            models.Index("tenant", "config", name="search_configs"),
        ]

    def __str__(self) -> str:
        return str(self.transcript_id)

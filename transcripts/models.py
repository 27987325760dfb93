"""What came out of a job."""

from django.db import models
from django.utils import timezone

from jobs.models import Job


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

    Word times are read from the raw document: a hundred kilobytes of JSON in the row
    would cost the database more than everything else about the job.
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

    def __str__(self) -> str:
        return str(self.job_id)

"""What came out of a job."""

from django.db import models
from django.utils import timezone

from jobs.models import Job


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

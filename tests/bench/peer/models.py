"""A job and its transcript."""

import uuid

from django.conf import settings
from django.db import models


class Job(models.Model):
    """A job and its status."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    audio_url = models.TextField()
    callback_url = models.TextField(blank=True)
    status = models.CharField(max_length=10, default="queued")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return str(self.id)


class Transcript(models.Model):
    """The transcript of a job."""

    job = models.OneToOneField(Job, models.CASCADE, primary_key=True)
    text = models.TextField()
    document = models.JSONField()

    def __str__(self) -> str:
        return str(self.job_id)


class LeanTranscript(models.Model):
    """The transcript of a job without a row."""

    id = models.UUIDField(primary_key=True)
    text = models.TextField()
    document = models.JSONField()

    def __str__(self) -> str:
        return str(self.id)

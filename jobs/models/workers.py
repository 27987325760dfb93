"""Heartbeats of processes."""

from django.db import models


class Worker(models.Model):
    """The heartbeat of a worker process; it is dead if ``seen_at`` is old."""

    name = models.CharField(max_length=200, primary_key=True)
    queues = models.JSONField(default=list)
    slots = models.PositiveIntegerField()
    busy = models.PositiveIntegerField(default=0)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Beacon(models.Model):
    """The heartbeat of a dispatcher or Celery beat; ``seen_at`` is its last cycle."""

    name = models.CharField(max_length=200, primary_key=True)
    role = models.CharField(max_length=20)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.role} {self.name}"

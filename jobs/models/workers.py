"""Heartbeats of processes."""

from django.db import models


class Worker(models.Model):
    """The heartbeat of a worker process; it is dead if ``seen_at`` is old.

    A process with ``accepts_batches`` consumes a queue of its own and gets one message
    with all its claims of a tick. Others, of an older version, get one message per
    claim through their region's queue.
    """

    name = models.CharField(max_length=200, primary_key=True)
    queues = models.JSONField(default=list)
    slots = models.PositiveIntegerField()
    busy = models.PositiveIntegerField(default=0)
    accepts_batches = models.BooleanField(default=False, db_default=False)
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

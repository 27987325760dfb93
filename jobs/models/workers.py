"""Which processes live."""

from django.db import models


class Worker(models.Model):
    """A live worker process, by its own word; gone when ``seen_at`` is old."""

    name = models.CharField(max_length=200, primary_key=True)
    queues = models.JSONField(default=list)
    slots = models.PositiveIntegerField()
    busy = models.PositiveIntegerField(default=0)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Beacon(models.Model):
    """A live dispatcher or beat, by its own word; its last round was at ``seen_at``."""

    name = models.CharField(max_length=200, primary_key=True)
    role = models.CharField(max_length=20)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.role} {self.name}"

"""Stored objects that are still to be deleted."""

from django.db import models


class ObjectToErase(models.Model):
    """A stored object to delete; saved with the erasure, deleted with the object."""

    name = models.CharField(max_length=300, unique=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name

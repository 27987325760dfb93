"""What is still to be erased outside the database."""

from django.db import models


class ObjectToErase(models.Model):
    """An object in storage whose row is erased; committed with that, gone with it."""

    name = models.CharField(max_length=300, unique=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name

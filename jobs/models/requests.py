"""Stored responses of idempotent requests, and stream tickets."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from jobs.models.ids import new_id
from jobs.models.tenants import ApiKey, Tenant


class IdempotencyKey(models.Model):
    """The stored response of a request, committed together with its effects."""

    tenant = models.ForeignKey(Tenant, models.CASCADE)
    route = models.CharField(max_length=100)
    key = models.CharField(max_length=255)
    digest = models.BinaryField(max_length=32)
    status_code = models.PositiveSmallIntegerField()
    body = models.JSONField(encoder=DjangoJSONEncoder)
    location = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    # When its response was erased; the key stays used.
    erased_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint("tenant", "route", "key", name="idempotency_key"),
        ]
        indexes = [
            models.Index("created_at", name="idempotency_age"),
            models.Index("location", name="idempotency_location"),
        ]

    def __str__(self) -> str:
        return self.key


class StreamTicket(models.Model):
    """A single-use credential to open one live WebSocket from a browser."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, db_index=False)
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True)
    digest = models.BinaryField(max_length=32, unique=True)
    # Input of the session: options, metadata, callback URL.
    draft = models.JSONField(default=dict)
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return str(self.id)

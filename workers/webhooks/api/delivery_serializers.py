"""Serializers of deliveries, attempts and recoveries."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jobs.api.jobs.serializers import strip_query
from jobs.rest.serializers import NullableTextField, ObjectTypeField, StrictSerializer
from workers.egress.network import DestinationNotAllowed
from workers.webhooks.delivery import replay
from workers.webhooks.delivery.replay import ReplayRange
from workers.webhooks.messages import payloads
from workers.webhooks.models import (
    DeliveryAttempt,
    Trigger,
    WebhookDelivery,
    WebhookRecovery,
)


class DeliveryOutput(serializers.Serializer[WebhookDelivery]):
    """A delivery.

    `is_held`: held back because its endpoint failed too often in a row.
    `is_redelivering`: a requested manual attempt has not been made yet.
    """

    id = serializers.UUIDField()
    object = ObjectTypeField("webhook_delivery")
    message_id = serializers.SerializerMethodField()
    type = serializers.CharField(source="event.type")
    endpoint_id = serializers.UUIDField(allow_null=True)
    url = serializers.SerializerMethodField()
    job_id = serializers.UUIDField(allow_null=True)
    status = serializers.ChoiceField(choices=WebhookDelivery.Status.choices)
    attempts = serializers.IntegerField()
    next_attempt_at = serializers.SerializerMethodField()
    is_held = serializers.BooleanField()
    is_redelivering = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_message_id(self, delivery: WebhookDelivery) -> str:
        """Return the ``webhook-id`` header of every attempt."""
        return payloads.message_id(delivery.event_id)

    def get_url(self, delivery: WebhookDelivery) -> str | None:
        """Return a callback's URL without its query string; null for an endpoint."""
        return strip_query(delivery.url) if delivery.url else None

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_attempt_at(self, delivery: WebhookDelivery) -> Any:
        """Return the next scheduled attempt; null while one runs and when final."""
        if delivery.trigger == Trigger.MANUAL:
            at = delivery.scheduled_at
        else:
            at = None if delivery.is_claimed else delivery.next_attempt_at
        return serializers.DateTimeField().to_representation(at) if at else None

    def get_is_redelivering(self, delivery: WebhookDelivery) -> bool:
        """Return whether a manual attempt is in progress."""
        return delivery.trigger == Trigger.MANUAL


class DeliveryAttemptOutput(serializers.Serializer[DeliveryAttempt]):
    """One POST; `n` counts a delivery's attempts from 1."""

    n = serializers.IntegerField()
    trigger = serializers.ChoiceField(choices=Trigger.choices)
    started_at = serializers.DateTimeField()
    duration_ms = serializers.SerializerMethodField()
    status_code = serializers.IntegerField(allow_null=True)
    error = serializers.SerializerMethodField()
    response_excerpt = NullableTextField()

    def get_duration_ms(self, attempt: DeliveryAttempt) -> int | None:
        """Return the duration; null for a blocked address, to prevent port scans."""
        is_blocked = attempt.error == DestinationNotAllowed.code
        return None if is_blocked else attempt.duration_ms

    def get_error(self, attempt: DeliveryAttempt) -> str | None:
        """Return the error code if there was no response."""
        return attempt.error or None


class DeliveryAttemptPage(serializers.Serializer[Any]):
    """All attempts of one delivery, oldest first."""

    data = DeliveryAttemptOutput(many=True)  # type: ignore[assignment]


class RecoverInput(StrictSerializer):
    """The creation time range of the messages to recover; `until` defaults to now."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField(required=False)

    def span(self, *, now: datetime) -> ReplayRange:
        """Return the validated range."""
        data: dict[str, datetime] = self.validated_data
        return ReplayRange(since=data["since"], until=data.get("until", now))


class RecoveredOutput(serializers.Serializer[Any]):
    """The number of a recovery's deliveries by current status."""

    pending = serializers.IntegerField()
    delivered = serializers.IntegerField()
    failed = serializers.IntegerField()
    discarded = serializers.IntegerField()


class RecoveryOutput(serializers.Serializer[WebhookRecovery]):
    """A recovery and its progress.

    `has_more`: the range had more deliveries than the limit; request another recovery.
    """

    id = serializers.UUIDField()
    object = ObjectTypeField("webhook_recovery")
    endpoint_id = serializers.UUIDField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    deliveries = serializers.IntegerField(source="number")
    has_more = serializers.BooleanField()
    counts = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()

    @extend_schema_field(RecoveredOutput)
    def get_counts(self, recovery: WebhookRecovery) -> dict[str, int]:
        """Return the number of deliveries by status."""
        return replay.count_recovered(recovery)

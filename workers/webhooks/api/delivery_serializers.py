"""Shapes of the deliveries API: what a delivery and its log look like from outside."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jobs.api.jobs.serializers import without_query
from jobs.rest.serializers import StrictSerializer
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
    """A delivery as customers see it.

    ``is_held``: due, but its endpoint failed too often in a row and is being tried.
    ``is_redelivering``: a manual attempt was asked for and has not been made yet.
    """

    id = serializers.UUIDField()
    object = serializers.SerializerMethodField()
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

    def get_object(self, _delivery: WebhookDelivery) -> str:
        """Return the kind of thing this is."""
        return "webhook_delivery"

    def get_message_id(self, delivery: WebhookDelivery) -> str:
        """Return the ``webhook-id`` it is sent with, each time."""
        return payloads.message_id(delivery.event_id)

    def get_url(self, delivery: WebhookDelivery) -> str | None:
        """Return a callback's URL without its query string; an endpoint has its own."""
        return without_query(delivery.url) if delivery.url else None

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_attempt_at(self, delivery: WebhookDelivery) -> Any:
        """Return when the schedule tries again; null while it does, and at the end."""
        if delivery.trigger == Trigger.MANUAL:
            at = delivery.scheduled_at
        else:
            at = None if delivery.is_claimed else delivery.next_attempt_at
        return serializers.DateTimeField().to_representation(at) if at else None

    def get_is_redelivering(self, delivery: WebhookDelivery) -> bool:
        """Return whether a manual attempt is under way."""
        return delivery.trigger == Trigger.MANUAL


class DeliveryPage(serializers.Serializer[Any]):
    """One page of a tenant's deliveries, newest first."""

    data = DeliveryOutput(many=True)  # type: ignore[assignment]  # a field of that name
    has_more = serializers.BooleanField()
    next_cursor = serializers.CharField(allow_null=True)


class DeliveryAttemptOutput(serializers.Serializer[DeliveryAttempt]):
    """One POST; a number, counted from 1, names it among its delivery's."""

    n = serializers.IntegerField()
    trigger = serializers.ChoiceField(choices=Trigger.choices)
    started_at = serializers.DateTimeField()
    duration_ms = serializers.SerializerMethodField()
    status_code = serializers.IntegerField(allow_null=True)
    error = serializers.SerializerMethodField()
    response_excerpt = serializers.CharField()

    def get_duration_ms(self, attempt: DeliveryAttempt) -> int | None:
        """Return how long it took; of a refused address not even that is told."""
        is_refused = attempt.error == DestinationNotAllowed.code
        return None if is_refused else attempt.duration_ms

    def get_error(self, attempt: DeliveryAttempt) -> str | None:
        """Return the class of what went wrong where no status came."""
        return attempt.error or None


class DeliveryAttemptPage(serializers.Serializer[Any]):
    """Every attempt at one delivery, oldest first."""

    data = DeliveryAttemptOutput(many=True)  # type: ignore[assignment]


class RecoverInput(StrictSerializer):
    """From when on, and until when (now, if not given)."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField(required=False)

    def span(self, *, now: datetime) -> ReplayRange:
        """Return the stretch of time."""
        asked: dict[str, datetime] = self.validated_data
        return ReplayRange(since=asked["since"], until=asked.get("until", now))


class RecoveredOutput(serializers.Serializer[Any]):
    """What became so far of what a recovery took up."""

    pending = serializers.IntegerField()
    delivered = serializers.IntegerField()
    failed = serializers.IntegerField()
    discarded = serializers.IntegerField()


class RecoveryOutput(serializers.Serializer[WebhookRecovery]):
    """A recovery and how far it is.

    ``has_more``: there were more than one recovery takes up; ask again.
    """

    id = serializers.UUIDField()
    object = serializers.SerializerMethodField()
    endpoint_id = serializers.UUIDField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    deliveries = serializers.IntegerField(source="number")
    has_more = serializers.BooleanField()
    counts = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()

    def get_object(self, _recovery: WebhookRecovery) -> str:
        """Return the kind of thing this is."""
        return "webhook_recovery"

    @extend_schema_field(RecoveredOutput)
    def get_counts(self, recovery: WebhookRecovery) -> dict[str, int]:
        """Return its deliveries by status."""
        return replay.count_recovered(recovery)

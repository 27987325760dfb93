"""Shapes of the endpoints API. Secrets and header values come in and never go out.

The one answer that shows a secret is the one that made it.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jobs.egress import policy as egress_policy
from jobs.errors import InvalidRequest
from jobs.rest.serializers import (
    BoundedListField,
    StrictSerializer,
    TrueFalseField,
    WholeNumberField,
)
from workers.webhooks.messages import custom_headers, signing
from workers.webhooks.messages.payloads import FILTERABLE
from workers.webhooks.messages.secrets import SecretRotationRequest
from workers.webhooks.models import MAX_CONCURRENT_LIMIT, WebhookEndpoint

MAX_GRACE_SECONDS = 7 * 24 * 3600
DEFAULT_GRACE_SECONDS = 24 * 3600
_VALUE = {"type": "string", "minLength": 1, "maxLength": custom_headers.MAX_VALUE_BYTES}


class TextField(serializers.CharField):
    """A JSON string, kept as it is; a number is not one."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse everything but text."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": custom_headers.MAX_HEADERS,
        "additionalProperties": _VALUE,
    }
)
class HeadersField(serializers.Field[Any, Any, Any, Any]):
    """Headers to send along: their values are written and never read."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        """Return them as they are sent."""
        return custom_headers.check_headers(self.check_object(data), pointer="/headers")

    def check_object(self, data: Any) -> Mapping[str, Any]:
        """Raise InvalidRequest for what is no JSON object."""
        if not isinstance(data, dict):
            message = "This must be a JSON object."
            raise InvalidRequest(message, code="field_invalid", pointer="/headers")
        return data


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": custom_headers.MAX_HEADERS,
        "additionalProperties": {**_VALUE, "type": ["string", "null"]},
        "description": "Merged as in RFC 7396: null removes one header, or all of them.",
    }
)
class HeaderChangesField(HeadersField):
    """Changes of the headers: a value sets one, null removes it."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the changes."""
        changes = self.check_object(data)
        set_anew = {n: value for n, value in changes.items() if value is not None}
        custom_headers.check_headers(set_anew, pointer="/headers")
        return dict(changes)


class SecretInput(StrictSerializer):
    """A secret of the customer's own, where it brings one."""

    secret = TextField(
        required=False,
        trim_whitespace=False,
        write_only=True,
        help_text=(
            "`whsec_` and the base64 of 24 to 64 random bytes. Default: generated."
        ),
    )

    def validate_secret(self, secret: str) -> str:
        """Refuse what does not sign the same everywhere."""
        if not signing.is_fit(secret):
            message = (
                f"A secret is {signing.SECRET_PREFIX} and the base64 of "
                f"{signing.MIN_SECRET_BYTES} to {signing.MAX_SECRET_BYTES} bytes."
            )
            raise InvalidRequest(message, code="secret_invalid", pointer="/secret")
        return secret


class EndpointFields(StrictSerializer):
    """What can be said of an endpoint at any time."""

    description = TextField(required=False, allow_blank=True, max_length=200)
    event_types = BoundedListField(
        child=serializers.ChoiceField(choices=FILTERABLE),
        required=False,
        max_length=100,
        help_text="Event types to send. An empty list means all.",
    )
    payload = serializers.ChoiceField(
        choices=WebhookEndpoint.Payload.choices,
        required=False,
        help_text="`full` includes the result up to 256 KiB, `thin` only its URL.",
    )
    max_concurrent = WholeNumberField(
        required=False, min_value=1, max_value=MAX_CONCURRENT_LIMIT
    )

    def validate_url(self, url: str) -> str:
        """Refuse a URL that we must not be sent to."""
        egress_policy.check_webhook_url(url, pointer="/url")
        return url

    def validate_event_types(self, types: list[str]) -> list[str]:
        """Return each once."""
        return list(dict.fromkeys(str(type_) for type_ in types))


class EndpointInput(EndpointFields, SecretInput):
    """A request for an endpoint."""

    url = TextField(trim_whitespace=False, max_length=2048)
    headers = HeadersField(required=False)


class EndpointChanges(EndpointFields):
    """A change of an endpoint: what is not named stays."""

    url = TextField(
        required=False,
        trim_whitespace=False,
        max_length=2048,
        help_text=(
            "A change of scheme, host or port removes all headers that are not sent in"
            " the same request."
        ),
    )
    headers = HeaderChangesField(required=False, allow_null=True)
    enabled = TrueFalseField(required=False, source="is_enabled")


class SecretRotationInput(SecretInput):
    """A request for another secret."""

    grace_seconds = WholeNumberField(
        required=False,
        min_value=0,
        max_value=MAX_GRACE_SECONDS,
        default=DEFAULT_GRACE_SECONDS,
        help_text="How long previous secrets also sign. 0 ends them immediately.",
    )

    def rotation(self) -> SecretRotationRequest:
        """Return the checked request."""
        asked: dict[str, Any] = self.validated_data
        grace = timedelta(seconds=asked["grace_seconds"])
        return SecretRotationRequest(secret=asked.get("secret", ""), grace=grace)


class EndpointOutput(serializers.Serializer[WebhookEndpoint]):
    """An endpoint as its tenant sees it; of its headers the names."""

    id = serializers.UUIDField()
    object = serializers.SerializerMethodField()
    url = serializers.CharField()
    description = serializers.CharField()
    event_types = serializers.ListField(child=serializers.CharField())
    payload = serializers.ChoiceField(choices=WebhookEndpoint.Payload.choices)
    header_names = serializers.SerializerMethodField()
    max_concurrent = serializers.IntegerField()
    enabled = serializers.BooleanField(source="is_enabled")
    disabled_reason = serializers.SerializerMethodField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    failures = serializers.IntegerField()
    failing_since = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()

    def get_object(self, _endpoint: WebhookEndpoint) -> str:
        """Return the kind of thing this is."""
        return "webhook_endpoint"

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_header_names(self, endpoint: WebhookEndpoint) -> list[str]:
        """Return the names; the values are for the receiver alone."""
        return sorted(endpoint.headers)

    def get_disabled_reason(self, endpoint: WebhookEndpoint) -> str | None:
        """Return why the platform switched it off, if it did."""
        return endpoint.disabled_reason or None


class EndpointCreatedOutput(EndpointOutput):
    """A new endpoint, and this once its secret."""

    secret = serializers.CharField(
        allow_null=True,
        help_text="Shown once: null if the response repeats an earlier one.",
    )


class EndpointPage(serializers.Serializer[Any]):
    """One page of a tenant's endpoints, newest first."""

    data = EndpointOutput(many=True)  # type: ignore[assignment]  # a field of that name
    has_more = serializers.BooleanField()
    next_cursor = serializers.CharField(allow_null=True)


class RotatedOutput(serializers.Serializer[Any]):
    """A new secret, shown this once, and until when older ones sign beside it."""

    object = serializers.CharField()
    endpoint_id = serializers.UUIDField(allow_null=True)
    secret = serializers.CharField(
        allow_null=True,
        help_text="Shown once: null if the response repeats an earlier one.",
    )
    created_at = serializers.DateTimeField()
    previous_expires_at = serializers.DateTimeField(allow_null=True)


class LiveSecretOutput(serializers.Serializer[Any]):
    """When a secret was made and until when it signs; null for the current one."""

    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)


class TenantSecretOutput(serializers.Serializer[Any]):
    """Since when and until when secrets sign messages to callback URLs."""

    object = serializers.CharField()
    live = LiveSecretOutput(many=True)


class PingOutput(serializers.Serializer[Any]):
    """The delivery that a ping is."""

    delivery_id = serializers.UUIDField()
    message_id = serializers.CharField(help_text="The `webhook-id` of the message.")
    endpoint_id = serializers.UUIDField()

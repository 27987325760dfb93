"""Serializers of the endpoints API. Secrets and header values are write-only.

Only the response that creates a secret contains it.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jobs.egress import policy as egress_policy
from jobs.egress.addresses import MAX_URL_LENGTH
from jobs.errors import InvalidRequest
from jobs.rest.serializers import (
    BoundedListField,
    NullableTextField,
    ObjectTypeField,
    StrictSerializer,
    TextField,
    TrueFalseField,
    WholeNumberField,
)
from workers.webhooks.messages import custom_headers, signing
from workers.webhooks.messages.payloads import FILTERABLE
from workers.webhooks.messages.secrets import SecretRotationRequest
from workers.webhooks.models import MAX_CONCURRENT_LIMIT, WebhookEndpoint

MAX_GRACE_SECONDS = 7 * 24 * 3600
DEFAULT_GRACE_SECONDS = 24 * 3600
_VALUE = {
    "type": "string",
    "maxLength": custom_headers.MAX_VALUE_BYTES,
    "pattern": "^[!-~](?:[ -~]*[!-~])?$",
}
_NAMES = {"pattern": f"^{custom_headers.TOKEN.pattern}$"}


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": custom_headers.MAX_HEADERS,
        "propertyNames": _NAMES,
        "additionalProperties": _VALUE,
    }
)
class HeadersField(serializers.Field[Any, Any, Any, Any]):
    """Custom headers; their values are write-only."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        """Return the headers; raises InvalidRequest."""
        return custom_headers.check_headers(self.check_object(data), pointer="/headers")

    def check_object(self, data: Any) -> Mapping[str, Any]:
        """Raise InvalidRequest unless ``data`` is a JSON object."""
        if not isinstance(data, dict):
            message = "This must be a JSON object."
            raise InvalidRequest(message, code="field_invalid", pointer="/headers")
        return data


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": custom_headers.MAX_HEADERS,
        "propertyNames": _NAMES,
        "additionalProperties": {**_VALUE, "type": ["string", "null"]},
        "description": "Merged as RFC 7396: null removes a header, or all headers.",
    }
)
class HeaderChangesField(HeadersField):
    """Changes of custom headers: a value sets a header, null removes it."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the changes; raises InvalidRequest."""
        changes = self.check_object(data)
        added = {n: value for n, value in changes.items() if value is not None}
        custom_headers.check_headers(added, pointer="/headers")
        return dict(changes)


@extend_schema_field({"type": "string", "pattern": signing.SECRET_PATTERN})
class SecretField(TextField):
    """A signing secret."""


@extend_schema_field(
    {"type": "string", "format": "uri", "minLength": 1, "maxLength": MAX_URL_LENGTH}
)
class EndpointUrlField(TextField):
    """The URL of a receiver."""


class SecretInput(StrictSerializer):
    """An optional secret chosen by the customer."""

    secret = SecretField(
        required=False,
        trim_whitespace=False,
        write_only=True,
        help_text=(
            "`whsec_` and the base64 of 24 to 64 random bytes. Generated if omitted."
        ),
    )

    def validate_secret(self, secret: str) -> str:
        """Reject a secret that libraries would decode differently."""
        if not signing.is_valid_secret(secret):
            message = (
                f"A secret must be {signing.SECRET_PREFIX} and the base64 of "
                f"{signing.MIN_SECRET_BYTES} to {signing.MAX_SECRET_BYTES} bytes."
            )
            raise InvalidRequest(message, code="secret_invalid", pointer="/secret")
        return secret


class EndpointFields(StrictSerializer):
    """The fields shared by create and update."""

    description = TextField(required=False, allow_blank=True, max_length=200)
    event_types = BoundedListField(
        child=serializers.ChoiceField(choices=FILTERABLE),
        required=False,
        allow_null=True,
        max_length=100,
        help_text="The event types to receive. Null or an empty list means all.",
    )
    payload = serializers.ChoiceField(
        choices=WebhookEndpoint.Payload.choices,
        required=False,
        help_text="`full` includes results up to 256 KiB, `thin` only their URL.",
    )
    max_concurrent = WholeNumberField(
        required=False, min_value=1, max_value=MAX_CONCURRENT_LIMIT
    )

    def validate_url(self, url: str) -> str:
        """Reject a URL that the egress policy does not allow."""
        egress_policy.check_webhook_url(url, pointer="/url")
        return url

    def validate_event_types(self, types: list[str] | None) -> list[str]:
        """Return the types without duplicates; none for all."""
        return list(dict.fromkeys(str(type_) for type_ in types or ()))


class EndpointInput(EndpointFields, SecretInput):
    """A request to create an endpoint."""

    url = EndpointUrlField(trim_whitespace=False, max_length=MAX_URL_LENGTH)
    headers = HeadersField(required=False)


class EndpointChanges(EndpointFields):
    """A request to update an endpoint; omitted fields stay unchanged."""

    url = EndpointUrlField(
        required=False,
        trim_whitespace=False,
        max_length=MAX_URL_LENGTH,
        help_text=(
            "A new scheme, host or port removes all headers that are not in the same"
            " request."
        ),
    )
    headers = HeaderChangesField(required=False, allow_null=True)
    enabled = TrueFalseField(required=False, source="is_enabled")


class SecretRotationInput(SecretInput):
    """A request to rotate a secret."""

    grace_seconds = WholeNumberField(
        required=False,
        min_value=0,
        max_value=MAX_GRACE_SECONDS,
        default=DEFAULT_GRACE_SECONDS,
        help_text="How long the old secret also signs. 0 revokes all old secrets now.",
    )

    def rotation(self) -> SecretRotationRequest:
        """Return the validated request."""
        data: dict[str, Any] = self.validated_data
        grace = timedelta(seconds=data["grace_seconds"])
        return SecretRotationRequest(secret=data.get("secret", ""), grace=grace)


class EndpointOutput(serializers.Serializer[WebhookEndpoint]):
    """An endpoint; contains the names of its headers but not their values."""

    id = serializers.UUIDField()
    object = ObjectTypeField("webhook_endpoint")
    url = serializers.CharField()
    description = NullableTextField()
    event_types = serializers.SerializerMethodField()
    payload = serializers.ChoiceField(choices=WebhookEndpoint.Payload.choices)
    header_names = serializers.SerializerMethodField()
    max_concurrent = serializers.IntegerField()
    enabled = serializers.BooleanField(source="is_enabled")
    disabled_reason = serializers.SerializerMethodField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    failures = serializers.IntegerField()
    failing_since = serializers.DateTimeField(allow_null=True)
    held_reason = serializers.CharField(
        allow_null=True,
        help_text=(
            "`failing`: ten or more attempts in a row have failed, so deliveries are"
            " held and tried one at a time. Any success, also of a ping, releases them."
        ),
    )
    held_until = serializers.DateTimeField(
        allow_null=True,
        help_text="When a held delivery is tried next. Null if nothing is held.",
    )
    created_at = serializers.DateTimeField()

    @extend_schema_field(
        serializers.ListField(
            child=serializers.CharField(), allow_null=True, help_text="Null means all."
        )
    )
    def get_event_types(self, endpoint: WebhookEndpoint) -> list[str] | None:
        """Return the event types to receive; null means all."""
        return endpoint.event_types or None

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_header_names(self, endpoint: WebhookEndpoint) -> list[str]:
        """Return the header names."""
        return sorted(endpoint.headers)

    def get_disabled_reason(self, endpoint: WebhookEndpoint) -> str | None:
        """Return why the platform disabled the endpoint; null if it did not."""
        return endpoint.disabled_reason or None


class EndpointCreatedOutput(EndpointOutput):
    """A new endpoint with its secret."""

    secret = serializers.CharField(
        allow_null=True,
        help_text="Returned only once; null in a replayed response.",
    )


class RotatedOutput(serializers.Serializer[Any]):
    """A new secret, and when the previous one expires."""

    object = serializers.CharField()
    endpoint_id = serializers.UUIDField(allow_null=True)
    secret = serializers.CharField(
        allow_null=True,
        help_text="Returned only once; null in a replayed response.",
    )
    created_at = serializers.DateTimeField()
    previous_expires_at = serializers.DateTimeField(allow_null=True)


class LiveSecretOutput(serializers.Serializer[Any]):
    """A valid secret's creation and expiry; the current one has no expiry."""

    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)


class TenantSecretOutput(serializers.Serializer[Any]):
    """The valid secrets that sign messages to callback URLs."""

    object = serializers.CharField()
    live = LiveSecretOutput(many=True)


class PingOutput(serializers.Serializer[Any]):
    """The delivery created by a ping."""

    delivery_id = serializers.UUIDField()
    message_id = serializers.CharField(help_text="The `webhook-id` of the message.")
    endpoint_id = serializers.UUIDField()

"""Serializers of API keys and of ``/v1/me``."""

from datetime import datetime, timedelta
from ipaddress import IPv6Network, ip_network
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jobs.accounts.authentication import ALL_SCOPES
from jobs.accounts.keys import KeyDraft, KeyRotationRequest
from jobs.egress.addresses import IPNetwork
from jobs.models import ApiKey
from jobs.rest.serializers import (
    BoundedListField,
    NullableTextField,
    ObjectTypeField,
    StrictSerializer,
    TextField,
    WholeNumberField,
    refuse_field,
)

MAX_ADDRESSES = 100
MAX_LIFETIME = timedelta(days=3660)
DEFAULT_OVERLAP_SECONDS = 86_400
MAX_OVERLAP_SECONDS = 604_800
_MAPPED = IPv6Network("::ffff:0:0/96")
_MAX_ADDRESS_LENGTH = 43  # eight groups of IPv6 and /128


@extend_schema_field(
    {"type": "string", "format": "ip-network", "maxLength": _MAX_ADDRESS_LENGTH}
)
class AddressField(serializers.CharField):
    """An IP address or a CIDR block."""

    def to_internal_value(self, data: Any) -> str:
        """Return the shortest canonical form."""
        text = super().to_internal_value(data)
        try:
            network = _parse_network(text)
        except ValueError:
            message = "Must be an IP address or a CIDR block such as 192.0.2.0/24."
            raise serializers.ValidationError(message) from None
        is_single = network.prefixlen == network.max_prefixlen
        return str(network.network_address if is_single else network)


class AllowedIpsField(BoundedListField):
    """The networks that may use a key; empty allows all."""

    child = AddressField(max_length=_MAX_ADDRESS_LENGTH)

    def __init__(self, **more: Any) -> None:
        super().__init__(max_length=MAX_ADDRESSES, **more)

    def to_internal_value(self, data: Any) -> list[str]:
        """Return the networks sorted and without duplicates."""
        return sorted(set(super().to_internal_value(data)))


class ExpiringInput(StrictSerializer):
    """An expiry, as a time or as a number of seconds from now."""

    expires_at = serializers.DateTimeField(required=False)
    expires_in_seconds = WholeNumberField(
        required=False, min_value=1, max_value=int(MAX_LIFETIME.total_seconds())
    )

    def expiry(self, *, now: datetime) -> datetime | None:
        """Return the expiry, or None without one; raises InvalidRequest."""
        fields = self.validated_data
        if "expires_at" in fields and "expires_in_seconds" in fields:
            message = "Send either expires_at or expires_in_seconds, not both."
            refuse_field(message, "expires_at", "field_conflict")
        at: datetime | None = fields.get("expires_at")
        if seconds := fields.get("expires_in_seconds"):
            at = now + timedelta(seconds=seconds)
        if at and not now < at <= now + MAX_LIFETIME:
            message = "The expiry must be in the future, within ten years."
            refuse_field(message, "expires_at", "field_invalid")
        return at


class KeyInput(ExpiringInput):
    """A request for a key."""

    name = TextField(max_length=200)
    scopes = BoundedListField(
        child=serializers.ChoiceField(choices=ALL_SCOPES),
        min_length=1,
        max_length=len(ALL_SCOPES),
    )
    allowed_ips = AllowedIpsField(required=False)

    def draft(self, *, now: datetime) -> KeyDraft:
        """Return the draft; ``expires_in_seconds`` counts from ``now``."""
        fields = self.validated_data
        return KeyDraft(
            name=fields["name"],
            scopes=tuple(scope for scope in ALL_SCOPES if scope in fields["scopes"]),
            allowed_ips=tuple(fields.get("allowed_ips", ())),
            expires_at=self.expiry(now=now),
        )


class KeyChangeInput(ExpiringInput):
    """Changes to a key; omitted fields stay."""

    name = TextField(max_length=200, required=False)
    allowed_ips = AllowedIpsField(required=False)

    def changes(self, *, now: datetime) -> dict[str, Any]:
        """Return the new values by field name."""
        names = ("name", "allowed_ips")
        fields = self.validated_data
        changes = {name: fields[name] for name in names if name in fields}
        expires_at = self.expiry(now=now)
        return changes | ({"expires_at": expires_at} if expires_at else {})


class RotationInput(ExpiringInput):
    """How long both keys work, and the expiry of the new one."""

    overlap_seconds = WholeNumberField(
        default=DEFAULT_OVERLAP_SECONDS, min_value=0, max_value=MAX_OVERLAP_SECONDS
    )

    def rotation(self, *, now: datetime) -> KeyRotationRequest:
        """Return the rotation; ``expires_in_seconds`` counts from ``now``."""
        overlap = timedelta(seconds=self.validated_data["overlap_seconds"])
        return KeyRotationRequest(overlap=overlap, expires_at=self.expiry(now=now))


class KeyOutput(serializers.ModelSerializer[ApiKey]):
    """An API key, without its secret."""

    id = serializers.CharField(source="public_id")
    name = NullableTextField()
    scopes = serializers.ListField(child=serializers.CharField())
    allowed_ips = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = ApiKey
        fields = ["id", "name", "scopes", "allowed_ips", "expires_at", "created_at"]
        read_only_fields = fields


class ApiKeyOutput(KeyOutput):
    """An API key as its administrators see it."""

    object = ObjectTypeField("api_key")
    replaced_by = serializers.CharField(source="replaced_by.public_id", allow_null=True)

    class Meta:
        model = ApiKey
        fields = [
            "object",
            *KeyOutput.Meta.fields,
            "last_used_at",
            "revoked_at",
            "replaced_by",
        ]
        read_only_fields = fields


class IssuedKeyOutput(ApiKeyOutput):
    """A new API key: the only response that contains the key itself."""

    key = serializers.CharField(
        allow_null=True,
        help_text="The key, shown once: null if the response repeats an earlier one"
        " to the same Idempotency-Key.",
    )

    class Meta:
        model = ApiKey
        fields = [*ApiKeyOutput.Meta.fields, "key"]
        read_only_fields = fields


class TenantOutput(serializers.Serializer[Any]):
    """A tenant's name and id."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class MeOutput(serializers.Serializer[Any]):
    """The calling API key and its tenant."""

    tenant = TenantOutput()
    api_key = KeyOutput()


def _parse_network(text: str) -> IPNetwork:
    """Parse an address or block; ValueError for one that cannot match a client.

    Client addresses have no zone, and IPv4 ones are never IPv4-mapped.
    """
    network = ip_network(text)
    if "%" in text or (isinstance(network, IPv6Network) and network.subnet_of(_MAPPED)):
        raise ValueError(text)
    return network

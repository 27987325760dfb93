"""Shapes of the API keys API, and of what a caller is told about itself."""

from datetime import datetime, timedelta
from ipaddress import IPv6Network, ip_network
from typing import Any

from rest_framework import serializers

from jobs.accounts.authentication import ALL_SCOPES
from jobs.accounts.keys import KeyDraft, KeyRotationRequest
from jobs.egress.addresses import IPNetwork
from jobs.models import ApiKey
from jobs.rest.serializers import (
    BoundedListField,
    ObjectTypeField,
    PageOutput,
    StrictSerializer,
    WholeNumberField,
    refuse_field,
)

MAX_ADDRESSES = 100
MAX_LIFE = timedelta(days=3660)
DEFAULT_OVERLAP_SECONDS = 86_400
MAX_OVERLAP_SECONDS = 604_800
_MAPPED = IPv6Network("::ffff:0:0/96")
_MAX_ADDRESS_LENGTH = 43  # eight groups of IPv6 and /128


class AddressField(serializers.CharField):
    """An IP address or a CIDR block."""

    def to_internal_value(self, data: Any) -> str:
        """Return it in its one shortest form."""
        text = super().to_internal_value(data)
        try:
            network = _parse_network(text)
        except ValueError:
            message = "This is neither an IP address nor a block such as 192.0.2.0/24."
            raise serializers.ValidationError(message) from None
        single = network.prefixlen == network.max_prefixlen
        return str(network.network_address if single else network)


class AllowedIpsField(BoundedListField):
    """Where a key may come from; empty means anywhere."""

    child = AddressField(max_length=_MAX_ADDRESS_LENGTH)

    def __init__(self, **more: Any) -> None:
        super().__init__(max_length=MAX_ADDRESSES, **more)

    def to_internal_value(self, data: Any) -> list[str]:
        """Return them sorted, each once."""
        return sorted(set(super().to_internal_value(data)))


class ExpiringInput(StrictSerializer):
    """What expires: at a time, or after a while."""

    expires_at = serializers.DateTimeField(required=False)
    expires_in_seconds = WholeNumberField(
        required=False, min_value=1, max_value=int(MAX_LIFE.total_seconds())
    )

    def expiry(self, *, now: datetime) -> datetime | None:
        """Return when, counted from ``now``, or None if nothing was said."""
        asked = self.validated_data
        if "expires_at" in asked and "expires_in_seconds" in asked:
            message = "Give either expires_at or expires_in_seconds."
            refuse_field(message, "expires_at", "field_conflict")
        at: datetime | None = asked.get("expires_at")
        if seconds := asked.get("expires_in_seconds"):
            at = now + timedelta(seconds=seconds)
        if at and not now < at <= now + MAX_LIFE:
            message = "A key expires in the future, within ten years."
            refuse_field(message, "expires_at", "field_invalid")
        return at


class KeyInput(ExpiringInput):
    """A request for a key."""

    name = serializers.CharField(max_length=200)
    scopes = BoundedListField(
        child=serializers.ChoiceField(choices=ALL_SCOPES),
        min_length=1,
        max_length=len(ALL_SCOPES),
    )
    allowed_ips = AllowedIpsField(required=False)

    def draft(self, *, now: datetime) -> KeyDraft:
        """Return the checked request; it expires counted from ``now``."""
        asked = self.validated_data
        return KeyDraft(
            name=asked["name"],
            scopes=tuple(scope for scope in ALL_SCOPES if scope in asked["scopes"]),
            allowed_ips=tuple(asked.get("allowed_ips", ())),
            expires_at=self.expiry(now=now),
        )


class KeyChangeInput(ExpiringInput):
    """What to change of a key; what is not named stays."""

    name = serializers.CharField(max_length=200, required=False)
    allowed_ips = AllowedIpsField(required=False)

    def changes(self, *, now: datetime) -> dict[str, Any]:
        """Return the new values by field."""
        names = ("name", "allowed_ips")
        asked = self.validated_data
        changes = {name: asked[name] for name in names if name in asked}
        expires_at = self.expiry(now=now)
        return changes | ({"expires_at": expires_at} if expires_at else {})


class RotationInput(ExpiringInput):
    """How long both keys work, and when the new one expires."""

    overlap_seconds = WholeNumberField(
        default=DEFAULT_OVERLAP_SECONDS, min_value=0, max_value=MAX_OVERLAP_SECONDS
    )

    def rotation(self, *, now: datetime) -> KeyRotationRequest:
        """Return the checked request."""
        overlap = timedelta(seconds=self.validated_data["overlap_seconds"])
        return KeyRotationRequest(overlap=overlap, expires_at=self.expiry(now=now))


class KeyOutput(serializers.ModelSerializer[ApiKey]):
    """An API key, without its secret."""

    id = serializers.CharField(source="public_id")
    scopes = serializers.ListField(child=serializers.CharField())
    allowed_ips = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = ApiKey
        fields = ["id", "name", "scopes", "allowed_ips", "expires_at", "created_at"]
        read_only_fields = fields


class ApiKeyOutput(KeyOutput):
    """An API key as those see it who look after keys."""

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
    """A new key: the one answer that holds its text."""

    key = serializers.CharField(
        allow_null=True,
        help_text="The key, shown only once: null if the response repeats an earlier one to the "
        "same Idempotency-Key.",
    )

    class Meta:
        model = ApiKey
        fields = [*ApiKeyOutput.Meta.fields, "key"]
        read_only_fields = fields


class ApiKeyPage(PageOutput):
    """One page of a tenant's keys, newest first."""

    data = ApiKeyOutput(many=True)  # type: ignore[assignment]  # a field of that name


class TenantOutput(serializers.Serializer[Any]):
    """A tenant's name and id."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class MeOutput(serializers.Serializer[Any]):
    """Whom a key belongs to and what it may do."""

    tenant = TenantOutput()
    api_key = KeyOutput()


def _parse_network(text: str) -> IPNetwork:
    """Read an address or block; ValueError for what no client ever comes from.

    Clients are known by addresses without a zone, and IPv4 ones as such.
    """
    network = ip_network(text)
    if "%" in text or (isinstance(network, IPv6Network) and network.subnet_of(_MAPPED)):
        raise ValueError(text)
    return network

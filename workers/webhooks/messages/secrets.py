"""Signing secrets and header values, encrypted with FIELD_ENCRYPTION_KEYS."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.fernet import InvalidToken
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from jobs.encryption import get_cipher
from jobs.errors import Conflict, InvalidRequest
from jobs.models import Tenant
from workers.webhooks.messages import signing
from workers.webhooks.models import WebhookEndpoint, WebhookSecret

MAX_OLD_SECRETS = 10


def get_or_create_tenant_secret(tenant: Tenant) -> str:
    """Return the tenant's default secret; concurrent first callers get the same."""
    rows = WebhookSecret.objects.filter(
        tenant=tenant, endpoint__isnull=True, expires_at__isnull=True
    )
    if current := rows.first():
        return decrypt(current.ciphertext)
    with transaction.atomic():
        # A concurrent caller waits here and then finds the secret.
        _lock(tenant, None)
        if current := rows.first():
            return decrypt(current.ciphertext)
        return add_secret(tenant, None, secret="", now=timezone.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRotationRequest:
    """A requested rotation; an empty secret means generate one."""

    secret: str = field(default="", repr=False)
    grace: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedSecret:
    """A completed rotation; ``secret`` is the new one."""

    secret: str = field(repr=False)
    endpoint_id: UUID | None
    created_at: datetime
    # When the previous secret expires; None if there was none.
    previous_expires_at: datetime | None


def rotate_secret(
    *,
    tenant: Tenant,
    endpoint: WebhookEndpoint | None,
    rotation: SecretRotationRequest,
    now: datetime,
) -> RotatedSecret:
    """Replace the endpoint's secret, or the tenant's default one.

    The old secret also signs during the grace period; with a grace of zero every older
    secret is deleted. Raises Conflict when too many old secrets sign, InvalidRequest
    for a secret already in use. Must be called in a transaction.
    """
    _lock(tenant, endpoint)
    rows = WebhookSecret.objects.filter(tenant=tenant, endpoint=endpoint)
    rows.filter(expires_at__lte=now).delete()
    live = [decrypt(row.ciphertext) for row in rows]
    if rotation.secret in live:
        message = "This secret is already in use. Send a different one."
        raise InvalidRequest(message, code="secret_reused", pointer="/secret")
    if not rotation.grace:
        rows.delete()
    elif len(live) > MAX_OLD_SECRETS:
        message = f"{MAX_OLD_SECRETS} older secrets still sign. Wait for one to expire."
        raise Conflict(message, code="secret_limit_reached")
    ends_at = now + rotation.grace
    has_previous = rows.filter(expires_at=None).update(expires_at=ends_at)
    return RotatedSecret(
        secret=add_secret(tenant, endpoint, secret=rotation.secret, now=now),
        endpoint_id=endpoint.pk if endpoint else None,
        created_at=now,
        previous_expires_at=ends_at if has_previous else None,
    )


def find_live_secrets(tenant: Tenant, *, now: datetime) -> list[WebhookSecret]:
    """Return the tenant's valid default secrets, newest first, without ciphertext."""
    rows = WebhookSecret.objects.filter(tenant=tenant, endpoint__isnull=True)
    live = rows.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))
    return list(live.defer("ciphertext").order_by("-pk"))


def add_secret(
    tenant: Tenant, endpoint: WebhookEndpoint | None, *, secret: str, now: datetime
) -> str:
    """Store the current secret, generated if empty, and return it."""
    secret = secret or signing.new_secret()
    WebhookSecret.objects.create(
        tenant=tenant, endpoint=endpoint, ciphertext=encrypt(secret), created_at=now
    )
    return secret


def _lock(tenant: Tenant, endpoint: WebhookEndpoint | None) -> None:
    """Serialize the rotations of a secret until the transaction ends."""
    owners: QuerySet[Any] = (
        Tenant.objects.filter(pk=tenant.pk)
        if endpoint is None
        else WebhookEndpoint.objects.filter(pk=endpoint.pk)
    )
    owners.select_for_update(no_key=True).values("pk").get()


def encrypt_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers as stored: names in clear text, values encrypted."""
    return {name: encrypt(value).decode() for name, value in headers.items()}


def decrypt_headers(stored: Mapping[str, str]) -> dict[str, str]:
    """Return the headers as sent; only a delivery reads them."""
    return {name: decrypt(value.encode()) for name, value in stored.items()}


def encrypt(secret: str) -> bytes:
    """Encrypt with the newest key."""
    return get_cipher().encrypt(secret.encode())


def decrypt(ciphertext: bytes | memoryview) -> str:
    """Decrypt with the matching configured key; raises ImproperlyConfigured."""
    try:
        return get_cipher().decrypt(bytes(ciphertext)).decode()
    except InvalidToken:
        raise ImproperlyConfigured(
            "FIELD_ENCRYPTION_KEYS lacks the key that encrypted a secret in this"
            " database. Add it after the newer keys."
        ) from None

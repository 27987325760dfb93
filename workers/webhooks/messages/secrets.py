"""Signing secrets at rest: encrypted under the operator's keys, made on demand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from jobs.errors import Conflict, InvalidRequest
from jobs.models import Tenant
from workers.webhooks.messages import signing
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookSecret

MAX_OLD_SECRETS = 10


def get_or_create_tenant_secret(tenant: Tenant) -> str:
    """Return the tenant's current default secret; two first callers get the same."""
    rows = WebhookSecret.objects.filter(
        tenant=tenant, endpoint__isnull=True, expires_at__isnull=True
    )
    if current := rows.first():
        return decrypt(current.ciphertext)
    with transaction.atomic():
        # Who comes second waits here and finds it, made or just rotated.
        _lock(tenant, None)
        if current := rows.first():
            return decrypt(current.ciphertext)
        return add_secret(tenant, None, secret="", now=timezone.now())


def get_signing_secrets(delivery: WebhookDelivery, *, now: datetime) -> list[str]:
    """Return the secrets to sign with: the endpoint's own, else the tenant's.

    The current one first, then those whose rotation grace still runs.
    """
    live = list(
        WebhookSecret.objects.filter(tenant_id=delivery.tenant_id)
        .filter(Q(endpoint=delivery.endpoint_id) | Q(endpoint__isnull=True))
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))
        .order_by("-id")
    )
    own = [row for row in live if row.endpoint_id]
    chosen = sorted(own or live, key=lambda row: row.expires_at is not None)
    if not chosen:
        return [get_or_create_tenant_secret(delivery.tenant)]
    return [decrypt(row.ciphertext) for row in chosen]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRotationRequest:
    """What is asked for; without a secret of the customer's one is made."""

    secret: str = field(default="", repr=False)
    grace: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedSecret:
    """What came of a rotation; ``secret`` is the one that signs from now on."""

    secret: str = field(repr=False)
    endpoint_id: UUID | None
    created_at: datetime
    # When the one before ends; None if nothing signed before or signs on.
    previous_expires_at: datetime | None


def rotate_secret(
    *,
    tenant: Tenant,
    endpoint: WebhookEndpoint | None,
    rotation: SecretRotationRequest,
    now: datetime,
) -> RotatedSecret:
    """Replace the endpoint's secret, or the tenant's default one.

    The old one signs beside it until the grace is over; without a grace every older
    secret ends at once. Raises Conflict when too many old ones sign, InvalidRequest
    for a secret that signs already. To be called in a transaction.
    """
    _lock(tenant, endpoint)
    rows = WebhookSecret.objects.filter(tenant=tenant, endpoint=endpoint)
    rows.filter(expires_at__lte=now).delete()
    live = [decrypt(row.ciphertext) for row in rows]
    if rotation.secret in live:
        message = "This secret signs already; a rotation needs another."
        raise InvalidRequest(message, code="secret_reused", pointer="/secret")
    if not rotation.grace:
        rows.delete()
    elif len(live) > MAX_OLD_SECRETS:
        message = f"{MAX_OLD_SECRETS} older secrets still sign: wait for one to expire."
        raise Conflict(message, code="secret_limit_reached")
    ends_at = now + rotation.grace
    had_one = rows.filter(expires_at=None).update(expires_at=ends_at)
    return RotatedSecret(
        secret=add_secret(tenant, endpoint, secret=rotation.secret, now=now),
        endpoint_id=endpoint.pk if endpoint else None,
        created_at=now,
        previous_expires_at=ends_at if had_one else None,
    )


def find_live_secrets(tenant: Tenant, *, now: datetime) -> list[WebhookSecret]:
    """Return the rows of the tenant's default secrets that sign now, current first."""
    rows = WebhookSecret.objects.filter(tenant=tenant, endpoint__isnull=True)
    live = rows.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))
    return list(live.defer("ciphertext").order_by("-pk"))


def add_secret(
    tenant: Tenant, endpoint: WebhookEndpoint | None, *, secret: str, now: datetime
) -> str:
    """Store the current secret, a fresh one if none is given, and return it."""
    secret = secret or signing.new_secret()
    WebhookSecret.objects.create(
        tenant=tenant, endpoint=endpoint, ciphertext=encrypt(secret), created_at=now
    )
    return secret


def _lock(tenant: Tenant, endpoint: WebhookEndpoint | None) -> None:
    """Let one rotation of a secret pass at a time, until its transaction ends."""
    owners: QuerySet[Any] = (
        Tenant.objects.filter(pk=tenant.pk)
        if endpoint is None
        else WebhookEndpoint.objects.filter(pk=endpoint.pk)
    )
    owners.select_for_update(no_key=True).values("pk").get()


def encrypt_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers as a row keeps them: names in clear, values encrypted."""
    return {name: encrypt(value).decode() for name, value in headers.items()}


def decrypt_headers(kept: Mapping[str, str]) -> dict[str, str]:
    """Return the headers as they are sent; nothing but a delivery reads them."""
    return {name: decrypt(value.encode()) for name, value in kept.items()}


def encrypt(secret: str) -> bytes:
    """Encrypt under the newest key."""
    return _cipher(tuple(settings.FIELD_ENCRYPTION_KEYS)).encrypt(secret.encode())


def decrypt(ciphertext: bytes | memoryview) -> str:
    """Decrypt what any of the configured keys encrypted; raises where none did."""
    cipher = _cipher(tuple(settings.FIELD_ENCRYPTION_KEYS))
    try:
        return cipher.decrypt(bytes(ciphertext)).decode()
    except InvalidToken:
        raise ImproperlyConfigured(
            "FIELD_ENCRYPTION_KEYS lacks the key that a secret in this database was"
            " written with. Put it back, behind the newer ones."
        ) from None


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])

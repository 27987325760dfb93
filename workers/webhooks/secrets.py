"""Signing secrets at rest: encrypted under the operator's keys, made on demand."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db.models import Q

from jobs.models import Tenant
from workers.webhooks import signing
from workers.webhooks.models import WebhookDelivery, WebhookSecret


def get_or_create_tenant_secret(tenant: Tenant) -> str:
    """Return the tenant's current default secret; two first callers get the same."""
    rows = WebhookSecret.objects.filter(
        tenant=tenant, endpoint__isnull=True, expires_at__isnull=True
    )
    current = rows.first()
    if current is None:
        made = WebhookSecret(tenant=tenant, ciphertext=encrypt(signing.new_secret()))
        # A unique index holds the one current secret: who comes second reads it.
        WebhookSecret.objects.bulk_create([made], ignore_conflicts=True)
        current = rows.get()
    return decrypt(current.ciphertext)


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
    """Decrypt what any of the configured keys encrypted."""
    cipher = _cipher(tuple(settings.FIELD_ENCRYPTION_KEYS))
    return cipher.decrypt(bytes(ciphertext)).decode()


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])

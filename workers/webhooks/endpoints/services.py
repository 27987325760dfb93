"""A tenant's endpoints: made, changed, deleted, given another secret, pinged.

What is still owed to an endpoint that is switched off or deleted is discarded at once:
switched on again it gets what happens from then on, and may ask for a recovery.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from jobs.accounts import audit
from jobs.accounts.caller import Caller
from jobs.egress.addresses import is_same_origin
from jobs.errors import Conflict, InvalidRequest, NotFound
from jobs.models import Tenant
from jobs.scheduling import dispatch
from workers.webhooks.delivery.attempts import UNSCHEDULED
from workers.webhooks.endpoints.answer_once import SecretRequest, SecretResponse
from workers.webhooks.messages import custom_headers, secrets
from workers.webhooks.messages.payloads import EventType
from workers.webhooks.messages.secrets import RotatedSecret, SecretRotationRequest
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookSecret


def find_endpoints(tenant: Tenant) -> QuerySet[WebhookEndpoint]:
    """Return the tenant's endpoints; deleted ones are not there."""
    return WebhookEndpoint.objects.filter(tenant=tenant, deleted_at__isnull=True)


def get_endpoint(*, tenant: Tenant, endpoint_id: UUID) -> WebhookEndpoint:
    """Return an endpoint of this tenant, or raise NotFound."""
    endpoint = find_endpoints(tenant).filter(pk=endpoint_id).first()
    if endpoint is None:
        raise NotFound
    return endpoint


def create_endpoint(
    *, once: SecretRequest, fields: Mapping[str, Any], secret: str
) -> SecretResponse:
    """Register an endpoint with a secret of its own; raises Conflict past the limit."""
    tenant, now = once.caller.tenant, once.now

    def make() -> tuple[WebhookEndpoint, str]:
        # Held to the end of the transaction: parallel requests are counted in turn.
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if find_endpoints(tenant).count() >= settings.WEBHOOK_ENDPOINTS_MAX:
            message = (
                f"A tenant has at most {settings.WEBHOOK_ENDPOINTS_MAX} endpoints."
            )
            raise Conflict(message, code="endpoint_limit_reached")
        endpoint = WebhookEndpoint(tenant=tenant, created_at=now)
        _apply(endpoint, fields)
        endpoint.save(force_insert=True)
        shown = secrets.add_secret(tenant, endpoint, secret=secret, now=now)
        _record("webhook_endpoint.created", once.caller, endpoint, now=now)
        return endpoint, shown

    return once.run("create webhook endpoint", make)


def update_endpoint(
    *, caller: Caller, endpoint_id: UUID, fields: Mapping[str, Any], now: datetime
) -> WebhookEndpoint:
    """Change what is named. A new URL, or being switched on, begins a new record.

    A URL of another origin drops the headers that do not come with it.
    """
    with transaction.atomic():
        endpoint = _lock_endpoint(caller.tenant, endpoint_id)
        changed = _apply(endpoint, fields)
        if "is_enabled" in changed:
            endpoint.disabled_reason, endpoint.disabled_at = "", None
            discard_open(endpoint, now=now)
        if changed & {"is_enabled", "url"}:
            _begin_record(endpoint, now=now)
        if changed:
            endpoint.save()
            _record(
                "webhook_endpoint.updated",
                caller,
                endpoint,
                now=now,
                fields=sorted(changed),
            )
    return endpoint


def delete_endpoint(*, caller: Caller, endpoint_id: UUID, now: datetime) -> None:
    """Delete an endpoint, its secrets, and whatever it has still coming."""
    with transaction.atomic():
        endpoint = _lock_endpoint(caller.tenant, endpoint_id)
        endpoint.is_enabled, endpoint.deleted_at = False, now
        endpoint.url, endpoint.description, endpoint.headers = "", "", {}
        endpoint.save()
        WebhookSecret.objects.filter(endpoint=endpoint).delete()
        discard_open(endpoint, now=now)
        _record("webhook_endpoint.deleted", caller, endpoint, now=now)


def rotate_endpoint_secret(
    *, once: SecretRequest, endpoint_id: UUID, rotation: SecretRotationRequest
) -> SecretResponse:
    """Give an endpoint another secret."""
    tenant, now = once.caller.tenant, once.now

    def make() -> tuple[RotatedSecret, str]:
        endpoint = _lock_endpoint(tenant, endpoint_id)
        rotated = secrets.rotate_secret(
            tenant=tenant, endpoint=endpoint, rotation=rotation, now=now
        )
        _record("webhook_endpoint.secret_rotated", once.caller, endpoint, now=now)
        return rotated, rotated.secret

    return once.run(f"rotate {endpoint_id}", make)


def rotate_tenant_secret(
    *, once: SecretRequest, rotation: SecretRotationRequest
) -> SecretResponse:
    """Give the tenant another default secret, which signs for callback URLs."""
    tenant, now = once.caller.tenant, once.now

    def make() -> tuple[RotatedSecret, str]:
        rotated = secrets.rotate_secret(
            tenant=tenant, endpoint=None, rotation=rotation, now=now
        )
        actor = once.caller.actor
        audit.record(type="webhook_secret.rotated", actor=actor, at=now, tenant=tenant)
        return rotated, rotated.secret

    return once.run("rotate webhook secret", make)


def ping_endpoint(*, once: SecretRequest, endpoint_id: UUID) -> SecretResponse:
    """Send a test message to this endpoint alone, whatever events it wants.

    Raises Conflict if it is switched off.
    """
    tenant, now = once.caller.tenant, once.now

    def make() -> tuple[WebhookDelivery, str]:
        endpoint = _lock_endpoint(tenant, endpoint_id)
        if not endpoint.is_enabled:
            message = "This endpoint is switched off: enable it first."
            raise Conflict(message, code="endpoint_disabled")
        event = audit.record(
            type=EventType.PING,
            actor=once.caller.actor,
            at=now,
            tenant=tenant,
            id=str(endpoint.pk),
            object="webhook_endpoint",
        )
        delivery = WebhookDelivery.objects.create(
            tenant=tenant,
            event=event,
            endpoint=endpoint,
            target=endpoint.pk.hex,
            next_attempt_at=now,
            created_at=now,
        )
        transaction.on_commit(dispatch.wake)
        return delivery, ""

    return once.run(f"ping {endpoint_id}", make)


def discard_open(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """Give up what is still on its way to the endpoint, asked for once more or not.

    What is being sent this moment arrives or not; its worker finds its claim gone. What
    is just being recorded is left, to be discarded when it comes due: its worker holds
    the delivery and waits for the endpoint, so to wait for it would be a deadlock.
    """
    waiting = WebhookDelivery.objects.select_for_update(skip_locked=True).filter(
        target=endpoint.pk.hex, next_attempt_at__isnull=False
    )
    given_up = WebhookDelivery.objects.filter(
        pk__in=list(waiting.values_list("pk", flat=True))
    )
    given_up.filter(status=WebhookDelivery.Status.PENDING).update(
        status=WebhookDelivery.Status.DISCARDED, finished_at=now, **UNSCHEDULED
    )
    given_up.update(**UNSCHEDULED)


def _begin_record(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """Forget the failures and close the circuit; what it held back is let go."""
    endpoint.failures, endpoint.failing_since = 0, None
    if endpoint.trial_wait_seconds:
        endpoint.trial_wait_seconds, endpoint.trial_at = 0, now


def _lock_endpoint(tenant: Tenant, endpoint_id: UUID) -> WebhookEndpoint:
    rows = find_endpoints(tenant).select_for_update(no_key=True)
    endpoint = rows.filter(pk=endpoint_id).first()
    if endpoint is None:
        raise NotFound
    return endpoint


def _apply(endpoint: WebhookEndpoint, fields: Mapping[str, Any]) -> set[str]:
    """Write the fields into the instance; return the names of those that changed.

    Header values are secrets of the receiver: with a URL of another scheme, host or
    port only those stay that come with it.
    """
    fields, kept = dict(fields), endpoint.headers
    if "url" in fields and not is_same_origin(endpoint.url, fields["url"]):
        kept = {}
    if "headers" in fields or kept != endpoint.headers:
        fields["headers"] = _merge_headers(kept, fields.get("headers", {}))
    changed = {n for n, value in fields.items() if getattr(endpoint, n) != value}
    for name in changed:
        setattr(endpoint, name, fields[name])
    return changed


def _merge_headers(
    kept: Mapping[str, str], changes: Mapping[str, str | None] | None
) -> dict[str, str]:
    """Merge by RFC 7396: values cannot be read back, so one may be set alone."""
    if changes is None:
        return {}
    set_anew = {name: value for name, value in changes.items() if value is not None}
    touched = {name.lower() for name in changes}
    merged = {n: value for n, value in kept.items() if n.lower() not in touched}
    merged |= secrets.encrypt_headers(set_anew)
    if len(merged) > custom_headers.MAX_HEADERS:
        message = f"There are at most {custom_headers.MAX_HEADERS} headers."
        raise InvalidRequest(message, code="header_invalid", pointer="/headers")
    return merged


def _record(
    type_: str, caller: Caller, endpoint: WebhookEndpoint, *, now: datetime, **data: Any
) -> None:
    audit.record(
        type=type_,
        actor=caller.actor,
        at=now,
        tenant=endpoint.tenant,
        endpoint_id=str(endpoint.pk),
        **data,
    )

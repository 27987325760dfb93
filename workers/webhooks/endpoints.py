"""Create, update, delete and ping endpoints, and rotate secrets.

Disabling or deleting an endpoint discards its pending deliveries at once. After it is
enabled again, the endpoint receives new events; a recovery sends the missed ones.
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
from workers.webhooks.messages import custom_headers, secrets
from workers.webhooks.messages.payloads import EventType
from workers.webhooks.messages.secrets import RotatedSecret, SecretRotationRequest
from workers.webhooks.models import (
    Trigger,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookSecret,
)


def find_endpoints(tenant: Tenant) -> QuerySet[WebhookEndpoint]:
    """Return the tenant's endpoints, without deleted ones."""
    return WebhookEndpoint.objects.filter(tenant=tenant, deleted_at__isnull=True)


def get_endpoint(*, tenant: Tenant, endpoint_id: UUID) -> WebhookEndpoint:
    """Return an endpoint of this tenant, or raise NotFound."""
    endpoint = find_endpoints(tenant).filter(pk=endpoint_id).first()
    if endpoint is None:
        raise NotFound
    return endpoint


@transaction.atomic
def create_endpoint(
    *, caller: Caller, fields: Mapping[str, Any], secret: str, now: datetime
) -> tuple[WebhookEndpoint, str]:
    """Create an endpoint; return it with its secret, generated if empty.

    Raises Conflict above the limit.
    """
    tenant = caller.tenant
    # Locked until the end of the transaction, so that concurrent requests cannot
    # exceed the limit.
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    if find_endpoints(tenant).count() >= settings.WEBHOOK_ENDPOINTS_MAX:
        message = f"A tenant has at most {settings.WEBHOOK_ENDPOINTS_MAX} endpoints."
        raise Conflict(message, code="endpoint_limit_reached")
    endpoint = WebhookEndpoint(tenant=tenant, created_at=now)
    _apply(endpoint, fields)
    endpoint.save(force_insert=True)
    stored = secrets.add_secret(tenant, endpoint, secret=secret, now=now)
    _record("webhook_endpoint.created", caller, endpoint, now=now)
    return endpoint, stored


def update_endpoint(
    *, caller: Caller, endpoint_id: UUID, fields: Mapping[str, Any], now: datetime
) -> WebhookEndpoint:
    """Update the named fields.

    A new URL, or enabling, resets the failure count and the circuit. A URL of another
    origin drops custom headers that are not part of the same request.
    """
    with transaction.atomic():
        endpoint = _lock_endpoint(caller.tenant, endpoint_id)
        changed = _apply(endpoint, fields)
        if "is_enabled" in changed:
            endpoint.disabled_reason, endpoint.disabled_at = "", None
            discard_open(endpoint, now=now)
        if changed & {"is_enabled", "url"}:
            _reset_health(endpoint, now=now)
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
    """Delete an endpoint and its secrets; discard its pending deliveries."""
    with transaction.atomic():
        endpoint = _lock_endpoint(caller.tenant, endpoint_id)
        endpoint.is_enabled, endpoint.deleted_at = False, now
        endpoint.url, endpoint.description, endpoint.headers = "", "", {}
        endpoint.save()
        WebhookSecret.objects.filter(endpoint=endpoint).delete()
        discard_open(endpoint, now=now)
        _record("webhook_endpoint.deleted", caller, endpoint, now=now)


@transaction.atomic
def rotate_endpoint_secret(
    *, caller: Caller, endpoint_id: UUID, rotation: SecretRotationRequest, now: datetime
) -> RotatedSecret:
    """Replace an endpoint's secret."""
    endpoint = _lock_endpoint(caller.tenant, endpoint_id)
    rotated = secrets.rotate_secret(
        tenant=caller.tenant, endpoint=endpoint, rotation=rotation, now=now
    )
    _record("webhook_endpoint.secret_rotated", caller, endpoint, now=now)
    return rotated


@transaction.atomic
def rotate_tenant_secret(
    *, caller: Caller, rotation: SecretRotationRequest, now: datetime
) -> RotatedSecret:
    """Replace the tenant's default secret, which signs for callback URLs."""
    rotated = secrets.rotate_secret(
        tenant=caller.tenant, endpoint=None, rotation=rotation, now=now
    )
    audit.record(
        type="webhook_secret.rotated", actor=caller.actor, at=now, tenant=caller.tenant
    )
    return rotated


@transaction.atomic
def ping_endpoint(
    *, caller: Caller, endpoint_id: UUID, now: datetime
) -> WebhookDelivery:
    """Send a test message to this endpoint, whatever events it subscribes to.

    An open circuit does not hold the first attempt, and its success closes the circuit.
    Raises Conflict if the endpoint is disabled.
    """
    endpoint = _lock_endpoint(caller.tenant, endpoint_id)
    if not endpoint.is_enabled:
        message = "The endpoint is disabled. Enable it first."
        raise Conflict(message, code="endpoint_disabled")
    event = audit.record(
        type=EventType.PING,
        actor=caller.actor,
        at=now,
        tenant=caller.tenant,
        id=str(endpoint.pk),
        object="webhook_endpoint",
    )
    transaction.on_commit(dispatch.wake)
    is_open = endpoint.trial_wait_seconds > 0
    return WebhookDelivery.objects.create(
        tenant=caller.tenant,
        event=event,
        endpoint=endpoint,
        target=endpoint.pk.hex,
        trigger=Trigger.MANUAL if is_open else Trigger.SCHEDULED,
        # If the manual attempt fails, the circuit holds the scheduled ones.
        scheduled_at=now if is_open else None,
        next_attempt_at=now,
        created_at=now,
    )


def discard_open(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """Discard the endpoint's pending deliveries and cancel its manual attempts.

    A request in flight is not stopped; its worker loses the claim. Rows locked by a
    worker that records an attempt are skipped and discarded when they come due: that
    worker waits for the endpoint's row, so waiting for it would be a deadlock.
    """
    waiting = WebhookDelivery.objects.select_for_update(skip_locked=True).filter(
        target=endpoint.pk.hex, next_attempt_at__isnull=False
    )
    discarded = WebhookDelivery.objects.filter(
        pk__in=list(waiting.values_list("pk", flat=True))
    )
    discarded.filter(status=WebhookDelivery.Status.PENDING).update(
        status=WebhookDelivery.Status.DISCARDED, finished_at=now, **UNSCHEDULED
    )
    discarded.update(**UNSCHEDULED)


def _reset_health(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """Reset the failure count and close the circuit; held deliveries become due."""
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
    """Set the fields on the instance; return the names of those that changed.

    Header values are secrets of the receiver, so a URL with another scheme, host or
    port drops all headers that are not in the same request.
    """
    fields, headers = dict(fields), endpoint.headers
    if "url" in fields and not is_same_origin(endpoint.url, fields["url"]):
        headers = {}
    if "headers" in fields or headers != endpoint.headers:
        fields["headers"] = _merge_headers(headers, fields.get("headers", {}))
    changed = {n for n, value in fields.items() if getattr(endpoint, n) != value}
    for name in changed:
        setattr(endpoint, name, fields[name])
    return changed


def _merge_headers(
    current: Mapping[str, str], changes: Mapping[str, str | None] | None
) -> dict[str, str]:
    """Merge as RFC 7396, because clients cannot read values back to resend them."""
    if changes is None:
        return {}
    added = {name: value for name, value in changes.items() if value is not None}
    changed = {name.lower() for name in changes}
    merged = {n: value for n, value in current.items() if n.lower() not in changed}
    merged |= secrets.encrypt_headers(added)
    if len(merged) > custom_headers.MAX_HEADERS:
        message = f"At most {custom_headers.MAX_HEADERS} headers are allowed."
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

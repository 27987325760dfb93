"""Create and change tenants; each change is audited."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from jobs.accounts import audit
from jobs.errors import InvalidRequest
from jobs.models import Region, Tenant
from jobs.options import UnknownOptions
from jobs.quotas import counters as quota_counters


def get_or_create_tenant(*, name: str, actor: str, now: datetime) -> Tenant:
    """Return the tenant of that name; create it if it does not exist."""
    with transaction.atomic():
        tenant, is_new = Tenant.objects.get_or_create(
            name=name, defaults={"created_at": now}
        )
        if is_new:
            record_created(tenant, actor=actor, now=now)
    return tenant


def record_created(tenant: Tenant, *, actor: str, now: datetime) -> None:
    """Audit the creation of a tenant."""
    audit.record(
        type="tenant.created", actor=actor, at=now, tenant=tenant, name=tenant.name
    )


def change_tenant(
    *, tenant: Tenant, changes: dict[str, Any], actor: str, now: datetime
) -> None:
    """Set fields of the tenant; quotas apply at once, the rest from the next tick on.

    The audit entry has the old and new values; unchanged ones are not audited. Raises
    InvalidRequest for an unknown region, whose jobs would wait forever.
    """
    _check_regions(changes.get("allowed_regions", []))
    with transaction.atomic():
        current = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        changed = audit.find_changes(current, changes)
        if changed:
            Tenant.objects.filter(pk=tenant.pk).update(
                **{name: new for name, (_, new) in changed.items()}
            )
            audit.record(
                type="tenant.changed",
                actor=actor,
                at=now,
                tenant=tenant,
                changes=changed,
            )
        if set(changed) & set(quota_counters.LIMITS):
            current.refresh_from_db(fields=quota_counters.LIMITS)
            quota_counters.begin_counting(current, now=now)


def _check_regions(names: list[str]) -> None:
    known = set(Region.objects.filter(pk__in=names).values_list("pk", flat=True))
    if unknown := sorted(set(names) - known):
        message = f"There is no region {unknown[0]!r}."
        raise InvalidRequest(message, code="region_not_allowed")


def get_unknown_options(
    tenant: Tenant, *, default: UnknownOptions = UnknownOptions.REFUSE
) -> UnknownOptions:
    """Return the policy: the tenant's, else the platform's, else the endpoint's."""
    return UnknownOptions(tenant.unknown_options or settings.UNKNOWN_OPTIONS or default)

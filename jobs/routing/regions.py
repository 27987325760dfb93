"""Regions: which of them a job may use, and the operator's actions on them.

Actions change the region's row; the dispatcher reads it at its next tick. Measured
health (circuit breaker, cooldown) is in ``workers.ratelimit``.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from jobs.accounts import audit
from jobs.errors import InvalidRequest, NotFound
from jobs.models import NO_RATE_LIMIT, Region, Tenant
from jobs.routing import routing_keys

logger = logging.getLogger(__name__)

# After Deepgram refused a region's key or credit, until the next attempt.
FIRST_PAUSE = timedelta(minutes=1)
ACTIONS: dict[str, dict[str, Any]] = {
    "enable": {"is_enabled": True},
    "disable": {"is_enabled": False},
    "drain": {"is_drained": True},
    "undrain": {"is_drained": False},
    "pin": {"is_pinned": True},
    "unpin": {"is_pinned": False},
    "resume": {"paused_until": None, "paused_reason": ""},
}


def parse_rate(text: str) -> int:
    """Return calls per minute; "none" is no limit. Raises ValueError."""
    return NO_RATE_LIMIT if text == "none" else int(text)


def read_pools() -> dict[str, Any]:
    """Return the limits of each region's feature pools, by the region's name."""
    return dict(Region.objects.values_list("name", "pools"))


def choose_routing_key(
    *,
    tenant: Tenant,
    requested: Sequence[str],
    options: Mapping[str, Any],
    read_pools: Callable[[], Mapping[str, Any]],
) -> str:
    """Return the routing key of a job of this tenant.

    Raises InvalidRequest for regions that do not exist or the tenant may not use.
    """
    regions = requested or tenant.allowed_regions
    if not requested and not routing_keys.needs_pool(options):  # most jobs: no query
        return routing_keys.build_routing_key(regions=regions, options=options)
    by_region = read_pools()
    if requested:
        allowed = set(tenant.allowed_regions) or set(by_region)
        if refused := sorted(set(requested) - (allowed & set(by_region))):
            raise InvalidRequest(
                f"Not a region you may use: {', '.join(refused)}.",
                code="region_not_allowed",
                pointer="/allowed_regions",
            )
    configured = {pool for pools in by_region.values() for pool in pools}
    return routing_keys.build_routing_key(
        regions=regions, options=options, configured=configured
    )


def apply_action(
    *, name: str, action: str, actor: str = audit.PLATFORM, now: datetime
) -> Region:
    """Apply one of ``ACTIONS`` to a region; effective within two ticks.

    Raises NotFound.
    """
    with transaction.atomic():
        if not Region.objects.filter(pk=name).update(**ACTIONS[action]):
            raise NotFound(f"There is no region {name!r}.")
        audit.record(type=f"region.{action}", actor=actor, at=now, region=name)
    logger.info("region changed", extra={"region": name, "action": action})
    return Region.objects.get(pk=name)


def set_region(
    *, name: str, changes: Mapping[str, Any], actor: str, now: datetime
) -> Region:
    """Create or change a region; the audit entry has the old and new values.

    Raises InvalidRequest for a new region without ``base_url``.
    """
    with transaction.atomic():
        current = Region.objects.select_for_update().filter(pk=name).first()
        if current is None and not changes.get("base_url"):
            raise InvalidRequest("A new region needs an address.")
        changed = audit.find_changes(current or Region(), changes)
        region, is_new = Region.objects.update_or_create(name=name, defaults=changes)
        if is_new or changed:
            event_type = "region.added" if is_new else "region.changed"
            audit.record(
                type=event_type, actor=actor, at=now, region=name, changes=changed
            )
    return region


def pause_region(*, name: str, reason: str, now: datetime) -> None:
    """Pause a region after Deepgram refused its key or credit; its jobs stay queued.

    One tick's jobs are tried again after the pause, so a repaired account resumes by
    itself; `manage.py regions resume` ends the pause at once.
    """
    until = now + FIRST_PAUSE
    Region.objects.filter(pk=name).update(paused_until=until, paused_reason=reason)
    logger.error("region paused", extra={"region": name, "reason": reason})

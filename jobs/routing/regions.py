"""Regions: which of them a job may use, and the operator's hand on each.

The operator's will is a row; the next tick obeys it. Health (breaker, cooldown) is not
here: that is measured, and lives with the limits.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from jobs.accounts import audit
from jobs.errors import InvalidRequest, NotFound
from jobs.models import Region, Tenant
from jobs.routing import routing_keys

logger = logging.getLogger(__name__)

# How long a region whose key or credit was refused is left alone before one more try.
FIRST_PAUSE = timedelta(minutes=1)
STEERS: dict[str, dict[str, Any]] = {
    "enable": {"is_enabled": True},
    "disable": {"is_enabled": False},
    "drain": {"is_drained": True},
    "undrain": {"is_drained": False},
    "pin": {"is_pinned": True},
    "unpin": {"is_pinned": False},
    "resume": {"paused_until": None, "paused_reason": ""},
}


def read_pools() -> dict[str, Any]:
    """Return the narrow pools of every region, by its name."""
    return dict(Region.objects.values_list("name", "pools"))


def build_lane_of(
    *,
    tenant: Tenant,
    asked: Sequence[str],
    options: Mapping[str, Any],
    known: Callable[[], Mapping[str, Any]],
) -> str:
    """Return the lane of a job of this tenant.

    Raises InvalidRequest for regions that do not exist or the tenant may not use.
    """
    allowed = asked or tenant.allowed_regions
    if not asked and not routing_keys.needs_pool(options):  # most jobs: no row to read
        return routing_keys.build_lane(regions=allowed, options=options)
    pools_of = known()
    if asked:
        may_use = set(tenant.allowed_regions) or set(pools_of)
        if unusable := sorted(set(asked) - (may_use & set(pools_of))):
            raise InvalidRequest(
                f"Not a region you may use: {', '.join(unusable)}.",
                code="region_not_allowed",
                pointer="/allowed_regions",
            )
    pools = {pool for narrow in pools_of.values() for pool in narrow}
    return routing_keys.build_lane(regions=allowed, options=options, configured=pools)


def steer_region(
    *, name: str, action: str, actor: str = audit.PLATFORM, now: datetime
) -> Region:
    """Do one of ``STEERS`` to a region; effective within two ticks.

    Raises NotFound.
    """
    with transaction.atomic():
        if not Region.objects.filter(pk=name).update(**STEERS[action]):
            raise NotFound(f"There is no region {name!r}.")
        audit.record(type=f"region.{action}", actor=actor, at=now, region=name)
    logger.info("region steered", extra={"region": name, "action": action})
    return Region.objects.get(pk=name)


def set_region(
    *, name: str, changes: Mapping[str, Any], actor: str, now: datetime
) -> Region:
    """Make the region or change it; the audit has old and new values.

    Raises InvalidRequest for a new one without an address.
    """
    with transaction.atomic():
        current = Region.objects.select_for_update().filter(pk=name).first()
        if current is None and not changes.get("base_url"):
            raise InvalidRequest("A new region needs an address.")
        changed = audit.find_changes(current or Region(), changes)
        region, is_new = Region.objects.update_or_create(name=name, defaults=changes)
        if is_new or changed:
            kind = "region.added" if is_new else "region.changed"
            audit.record(type=kind, actor=actor, at=now, region=name, changes=changed)
    return region


def pause_region(*, name: str, reason: str, now: datetime) -> None:
    """Send nothing more where our key or credit was refused; its jobs are kept.

    After the pause one tick's worth is tried again, so that a mended account needs no
    hand here; `manage.py regions resume` ends it at once.
    """
    until = now + FIRST_PAUSE
    Region.objects.filter(pk=name).update(paused_until=until, paused_reason=reason)
    logger.error("region paused", extra={"region": name, "reason": reason})

"""The dashboard's statistics as JSON values, cached for some seconds."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.utils import timezone

from jobs.models import Priority, Region
from workers.admin_site.attention import find_alerts
from workers.monitoring import (
    activity,
    backlog,
    components,
    deliveries,
    regions,
    stores,
    workers,
)
from workers.monitoring.activity import MinuteActivity
from workers.monitoring.cached_reads import cached
from workers.ratelimit.permits import get_permit_reader

TENANTS_SHOWN = 8
WORKERS_SHOWN = 12
ENDPOINTS_SHOWN = 6


@cached(2)
def read_now() -> dict[str, Any]:
    """Return the current statistics."""
    now = stores.read_clock()
    region_statistics = regions.read_regions(permits=get_permit_reader())
    statistics = {
        "at": now,
        "minutes": _minutes(now),
        "backlog": _backlog(now),
        "regions": [_region(item, now) for item in region_statistics],
        "components": [
            asdict(component)
            for component in components.list_processes_and_stores(
                region_statistics, now=now
            )
        ],
        "is_redis_away": any(item.prerecorded is None for item in region_statistics),
        "workers": _workers(now),
        "webhooks": _webhooks(now),
    }
    return {**statistics, "troubles": find_alerts(statistics)}


@cached(20, is_complete=lambda today: today["is_whole"])
def read_today() -> dict[str, Any]:
    """Return the statistics of today, aggregated by hour."""
    now = timezone.now()
    today = activity.read_today(now=now, top=TENANTS_SHOWN)
    return {
        "at": now,
        "is_whole": today.is_complete,
        "cost": today.total.cost,
        "calls": today.total.calls,
        "audio_seconds": today.total.audio_seconds,
        "cost_by_hour": today.by_hour,
        "top": [
            {"tenant": str(pk), "name": name, **asdict(spent)}
            for pk, name, spent in today.top
        ],
    }


def _minutes(now: datetime) -> list[dict[str, Any]]:
    empty = MinuteActivity(ended={})
    return [
        {
            "at": at,
            "ended": dict((minute or empty).ended),
            "seconds": list((minute or empty).seconds),
        }
        for at, minute in activity.read_minutes(now=now).items()
    ]


def _backlog(now: datetime) -> dict[str, Any]:
    queue = backlog.read_backlog()
    tenants: dict[Any, dict[str, Any]] = {}
    for group in queue.waiting:
        entry = tenants.setdefault(group.tenant, {"jobs": 0, "seconds": {}})
        entry["jobs"] += group.jobs
        name = Priority(group.priority).label
        entry["seconds"][name] = entry["seconds"].get(name, 0) + group.audio_seconds
    largest = sorted(tenants, key=lambda pk: -sum(tenants[pk]["seconds"].values()))
    names = backlog.read_names(largest[:TENANTS_SHOWN])
    return {
        "jobs": queue.jobs,
        "audio_seconds": queue.audio_seconds,
        "oldest_seconds": queue.age(now=now).total_seconds(),
        "is_estimate": queue.is_estimate,
        "later": queue.later,
        "closed": queue.closed,
        "tenant_count": len(tenants),
        "tenants": [
            {"tenant": str(pk), "name": names.get(pk, ""), **tenants[pk]}
            for pk in largest[:TENANTS_SHOWN]
        ],
    }


def _region(item: regions.RegionStatistics, now: datetime) -> dict[str, Any]:
    row, calls, streams = item.region, item.prerecorded, item.streams
    return {
        "name": row.name,
        "state": item.state(now=now),
        "is_pinned": row.is_pinned,
        "reason": row.paused_reason,
        "breaker": item.breaker,
        "cooldown_seconds": calls.cooldown_ms / 1000 if calls else None,
        "limits": [
            _limit("Calls", calls.held if calls else None, row.max_concurrent),
            *_rate(row, calls.in_minute if calls else None),
            _limit("Live streams", streams.held if streams else None, row.max_streams),
        ],
    }


def _rate(region: Region, used: int | None) -> list[dict[str, Any]]:
    """Return the limit of calls per minute, if the region has one."""
    if not region.has_rate_limit:
        return []
    return [_limit("Calls a minute", used, region.max_per_minute)]


def _limit(name: str, used: int | None, limit: int) -> dict[str, Any]:
    return {"name": name, "used": used, "limit": limit}


def _workers(now: datetime) -> dict[str, Any]:
    rows = workers.read_workers(now=now)
    alive = [worker for worker in rows if not worker.is_stale]
    return {
        "alive": len(alive),
        "stale": len(rows) - len(alive),
        "slots": sum(worker.slots for worker in alive),
        "busy": sum(worker.busy for worker in alive),
        "shown": [
            asdict(worker)
            for worker in sorted(rows, key=lambda worker: not worker.is_stale)[
                :WORKERS_SHOWN
            ]
        ],
    }


def _webhooks(now: datetime) -> dict[str, Any]:
    hour = deliveries.read_deliveries(now=now)
    return {
        "attempts": hour.attempts,
        "succeeded": hour.succeeded,
        "targets": len(hour.targets),
        "slowest": [asdict(target) for target in hour.slowest(ENDPOINTS_SHOWN)],
    }

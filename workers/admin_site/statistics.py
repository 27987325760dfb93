"""The dashboard's figures as JSON-ready values, kept for a moment for all who look."""

from datetime import datetime
from typing import Any

from django.utils import timezone

from jobs.models import Priority
from workers.admin_site.attention import find_troubles
from workers.monitoring import activity, backlog, deliveries, regions, workers
from workers.monitoring.activity import MinuteActivity
from workers.monitoring.cached_reads import kept
from workers.ratelimit.permits import get_permit_reader

TENANTS_SHOWN = 8
WORKERS_SHOWN = 12
ENDPOINTS_SHOWN = 6


@kept(2)
def read_now() -> dict[str, Any]:
    """Return how it is: everything that an operator on call looks at first."""
    now = timezone.now()
    looked_at = regions.read_regions(permits=get_permit_reader())
    figures = {
        "at": now,
        "minutes": _minutes(now),
        "backlog": _backlog(now),
        "regions": [_region(each, now) for each in looked_at],
        "is_redis_away": any(each.prerecorded is None for each in looked_at),
        "workers": _workers(now),
        "webhooks": _webhooks(now),
    }
    return {**figures, "troubles": find_troubles(figures)}


@kept(20, is_whole=lambda today: today["is_whole"])
def read_today() -> dict[str, Any]:
    """Return what today came to: it is summed up hour by hour, and changes slowly."""
    now = timezone.now()
    today = activity.read_today(now=now, top=TENANTS_SHOWN)
    return {
        "at": now,
        "is_whole": today.is_whole,
        "cost": today.total.cost,
        "calls": today.total.calls,
        "audio_seconds": today.total.audio_seconds,
        "cost_by_hour": today.by_hour,
        "top": [
            {
                "tenant": str(pk),
                "name": name,
                "calls": spent.calls,
                "audio_seconds": spent.audio_seconds,
                "cost": spent.cost,
            }
            for pk, name, spent in today.top
        ],
    }


def _minutes(now: datetime) -> list[dict[str, Any]]:
    nothing = MinuteActivity(ended={})
    return [
        {
            "at": at,
            "ended": dict((minute or nothing).ended),
            "seconds": list((minute or nothing).seconds),
        }
        for at, minute in activity.read_minutes(now=now).items()
    ]


def _backlog(now: datetime) -> dict[str, Any]:
    all_of_it = backlog.read_backlog()
    tenants: dict[Any, dict[str, Any]] = {}
    for each in all_of_it.waiting:
        entry = tenants.setdefault(each.tenant, {"jobs": 0, "seconds": {}})
        entry["jobs"] += each.jobs
        name = Priority(each.priority).label
        entry["seconds"][name] = entry["seconds"].get(name, 0) + each.audio_seconds
    most = sorted(tenants, key=lambda pk: -sum(tenants[pk]["seconds"].values()))
    names = backlog.names_of(most[:TENANTS_SHOWN])
    return {
        "jobs": all_of_it.jobs,
        "audio_seconds": all_of_it.audio_seconds,
        "oldest_seconds": all_of_it.age(now=now).total_seconds(),
        "is_estimate": all_of_it.is_estimate,
        "later": all_of_it.later,
        "tenant_count": len(tenants),
        "tenants": [
            {"tenant": str(pk), "name": names.get(pk, ""), **tenants[pk]}
            for pk in most[:TENANTS_SHOWN]
        ],
    }


def _region(each: regions.RegionStatistics, now: datetime) -> dict[str, Any]:
    row, calls, streams = each.region, each.prerecorded, each.streams
    return {
        "name": row.name,
        "state": each.state(now=now),
        "is_pinned": row.is_pinned,
        "reason": row.paused_reason,
        "breaker": each.breaker,
        "cooldown_seconds": calls.cooldown_ms / 1000 if calls else None,
        "limits": [
            _limit("Calls", calls.held if calls else None, row.max_concurrent),
            _limit(
                "Calls a minute", calls.in_minute if calls else None, row.max_per_minute
            ),
            _limit("Live streams", streams.held if streams else None, row.max_streams),
        ],
    }


def _limit(name: str, used: int | None, limit: int) -> dict[str, Any]:
    return {"name": name, "used": used, "limit": limit}


def _workers(now: datetime) -> dict[str, Any]:
    rows = workers.read_workers(now=now)
    alive = [each for each in rows if not each.is_stale]
    return {
        "alive": len(alive),
        "stale": len(rows) - len(alive),
        "slots": sum(each.slots for each in alive),
        "busy": sum(each.busy for each in alive),
        "shown": [
            {
                "name": each.name,
                "queues": each.queues,
                "slots": each.slots,
                "busy": each.busy,
                "is_stale": each.is_stale,
                "seen_at": each.seen_at,
            }
            for each in sorted(rows, key=lambda each: not each.is_stale)[:WORKERS_SHOWN]
        ],
    }


def _webhooks(now: datetime) -> dict[str, Any]:
    hour = deliveries.read_deliveries(now=now)
    return {
        "attempts": hour.attempts,
        "succeeded": hour.succeeded,
        "targets": len(hour.targets),
        "slowest": [
            {
                "endpoint": str(each.endpoint) if each.endpoint else None,
                "host": each.host,
                "attempts": each.attempts,
                "succeeded": each.succeeded,
                "p50_ms": each.p50_ms,
                "p95_ms": each.p95_ms,
            }
            for each in hour.slowest(ENDPOINTS_SHOWN)
        ],
    }

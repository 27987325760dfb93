"""Requests, usage and balances in Deepgram's format, from the platform's ledger.

A request is a job that has ended. Its id is the one that the caller received: that of
Deepgram's response, or the job's for callbacks and live sessions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid5

from django.db.models import Prefetch, Q, QuerySet

from jobs.models import Attempt, Job, Mode, Tenant
from jobs.queries import visible
from jobs.quotas import counters, usage
from jobs.rest.views import refuse_parameter
from jobs.state import FINAL, JobStatus
from transcripts.formats import deepgram_response

Value = TypeVar("Value")
DEFAULT_LIMIT, MAX_LIMIT = 10, 1000
# An offset reads all rows before it.
MAX_OFFSET = 100_000
USAGE_DAYS = 30
_METHODS = {"sync": Mode.SYNC, "async": Mode.ASYNC, "streaming": Mode.LIVE}
_METHOD_NAMES = {mode: name for name, mode in _METHODS.items()}
_STATUSES = {
    "succeeded": Q(status=JobStatus.COMPLETED),
    "failed": ~Q(status=JobStatus.COMPLETED),
}
# Filters whose only value here is the default.
_CONSTANT = {"deployment": "hosted", "endpoint": "listen"}
_SECONDS_PER_HOUR = 3600
_CALLS = "prefetched_calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPage:
    """A page of requests, from 0."""

    page: int
    limit: int

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> "RequestPage":
        """Parse the parameters; the SDK sends 10 as ``10.0``. Raises InvalidRequest."""
        page = _read_whole(params, "page", 0)
        limit = max(1, min(_read_whole(params, "limit", DEFAULT_LIMIT), MAX_LIMIT))
        if page * limit > MAX_OFFSET:
            refuse_parameter(
                "page", f"Only the newest {MAX_OFFSET:,} requests have pages."
            )
        return cls(page=page, limit=limit)


def list_requests(tenant: Tenant, params: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the tenant's requests, newest first; raises InvalidRequest."""
    page = RequestPage.parse(params)
    first = page.page * page.limit
    rows = _find_jobs(tenant).filter(_build_filter(params)).order_by("-pk")
    return {
        "page": page.page,
        "limit": page.limit,
        "requests": [_describe(job) for job in rows[first : first + page.limit]],
    }


def find_request(tenant: Tenant, request_id: UUID) -> dict[str, Any] | None:
    """Return a request of the tenant, or None."""
    job = _find_jobs(tenant).filter(_with_id(request_id)).order_by("-pk").first()
    return _describe(job) if job else None


def sum_usage(tenant: Tenant, params: Mapping[str, str], *, today: date) -> Any:
    """Return the hours and requests of each day; raises InvalidRequest."""
    for name in params:
        if name not in {"start", "end"}:
            refuse_parameter(name, "This filter is not supported: use GET /v1/usage.")
    until = _read_moment(params, "end", today).date()
    since = _read_moment(params, "start", until - timedelta(days=USAGE_DAYS)).date()
    query = usage.UsageQuery(since=since, until=until, group_by=("day",))
    found = usage.find_usage(tenant=tenant, query=query)
    return {
        "start": str(since),
        "end": str(until),
        "resolution": {"units": "day", "amount": 1},
        "results": [
            {
                "start": str(row["day"]),
                "end": str(row["day"] + timedelta(days=1)),
                "hours": (hours := float(row["audio_seconds"]) / _SECONDS_PER_HOUR),
                "total_hours": hours,
                "requests": row["calls"],
            }
            for row in found.rows
        ],
    }


def list_balances(tenant: Tenant, *, now: datetime) -> list[dict[str, Any]]:
    """Return what is left of each audio quota in hours; [] without quotas."""
    return [
        {
            "balance_id": str(uuid5(tenant.pk, quota.name)),
            "amount": float(quota.remaining) / _SECONDS_PER_HOUR,
            "units": "hour",
            "purchase_order_id": quota.name,
        }
        for quota in counters.read_quotas(tenant=tenant, now=now)
        if quota.remaining is not None and quota.name.startswith("audio_seconds")
    ]


def _find_jobs(tenant: Tenant) -> QuerySet[Job]:
    calls = Prefetch("attempts", Attempt.objects.order_by("pk"), to_attr=_CALLS)
    ended = visible(Job.objects.filter(tenant=tenant, status__in=FINAL))
    return ended.select_related("api_key").prefetch_related(calls)


def _build_filter(params: Mapping[str, str]) -> Q:
    found = Q()
    if any(params.get(name, value) != value for name, value in _CONSTANT.items()):
        return Q(pk=None)
    if status := params.get("status"):
        found &= _choose(_STATUSES, "status", status)
    if method := params.get("method"):
        found &= Q(mode=_choose(_METHODS, "method", method))
    if accessor := params.get("accessor"):
        found &= Q(api_key__public_id=accessor)
    if request_id := params.get("request_id"):
        found &= _with_id(_read_uuid(request_id))
    if "start" in params:
        found &= Q(created_at__gte=_read_moment(params, "start", date.min))
    if "end" in params:
        found &= Q(created_at__lte=_read_moment(params, "end", date.max, is_end=True))
    return found


def _choose(values: Mapping[str, Value], name: str, text: str) -> Value:
    if text not in values:
        refuse_parameter(name, f"This must be one of {', '.join(values)}.")
    return values[text]


def _with_id(request_id: UUID) -> Q:
    calls = Attempt.objects.filter(request_id=str(request_id))
    return Q(pk=request_id) | Q(pk__in=calls.values("job_id"))


def _describe(job: Job) -> dict[str, Any]:
    calls: list[Attempt] = getattr(job, _CALLS)
    is_ok = job.status == JobStatus.COMPLETED
    code = 200 if is_ok else deepgram_response.build_error(job).status
    has_own_id = job.mode == Mode.SYNC and is_ok and calls and calls[-1].request_id
    seconds = [call.audio_seconds for call in calls if call.audio_seconds is not None]
    return {
        "request_id": calls[-1].request_id if has_own_id else str(job.pk),
        "project_uuid": str(job.tenant_id),
        "created": _format(job.created_at),
        "path": "/v1/listen",
        "api_key_id": job.api_key.public_id if job.api_key else None,
        "response": {
            "code": code,
            "completed": _format(job.finished_at) if job.finished_at else None,
            "details": {
                "usd": float(_sum(call.cost_estimate for call in calls)),
                "duration": job.duration_seconds or (seconds[-1] if seconds else 0.0),
                "total_audio": sum(seconds),
                "channels": job.channels or 1,
                "streams": 1,
                "config": _describe_config(job),
                "method": _METHOD_NAMES[Mode(job.mode)],
                "tags": job.options.get("tag", []),
                "models": [str(job.options.get("model", ""))],
                "features": sorted(k for k, v in job.options.items() if v is True),
            },
        },
        "code": code,
        "deployment": "hosted",
        "callback": None,  # may contain a password
    }


def _describe_config(job: Job) -> dict[str, Any]:
    """Return the options as older SDKs require them."""
    texts = {name: str(job.options.get(name, "")) for name in ("model", "language")}
    flags = {name: value for name, value in job.options.items() if value is True}
    return {**flags, **texts}


def _sum(costs: Iterable[Any]) -> Any:
    return sum(cost for cost in costs if cost is not None)


def _format(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _read_whole(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, str(default))
    whole, _, fraction = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) < 10):  # noqa: PLR2004
        refuse_parameter(name, "This must be a whole number.")
    if fraction.strip("0"):
        refuse_parameter(name, "This must be a whole number.")
    return int(whole)


def _read_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        refuse_parameter("request_id", "This must be a UUID.")


def _read_moment(
    params: Mapping[str, str], name: str, default: date, *, is_end: bool = False
) -> datetime:
    """Return the moment; of a date without a time its first, or its last."""
    text = params.get(name)
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        refuse_parameter(name, "This must be a date or a time (ISO 8601).")
    if found is None:
        return datetime.combine(default, time.min, UTC)
    if is_end and len(text or "") == len("2026-01-31"):
        found = datetime.combine(found.date(), time.max)
    return found if found.tzinfo else found.replace(tzinfo=UTC)

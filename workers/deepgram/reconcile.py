"""Reconcile attempts of unknown outcome with Deepgram's request log.

A worker killed during a call leaves an *unknown* attempt, which counts as used. The
tags ``job:<id>`` and ``claim:<token>`` identify it in Deepgram's log.
https://developers.deepgram.com/reference/manage/requests/list
"""

import logging
import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from jobs.models import Attempt, Region
from jobs.parsing.bounded_json import check_depth
from jobs.quotas import quotas
from transcripts import prices
from workers.deepgram import client

logger = logging.getLogger(__name__)

PAGE_SIZE = 1000
# Tolerates clock differences: a call may be logged this much before its attempt.
CLOCK_SLACK = timedelta(minutes=2)
NEVER_ARRIVED = "never_arrived"


def reconcile_region(region: Region, *, now: datetime, since: datetime) -> int:
    """Set the outcome of the region's unknown attempts from the log; return how many.

    Skips attempts younger than the call deadline. An attempt missing in the log never
    arrived and cost nothing. Raises the SDK's errors.
    """
    latest = now - timedelta(seconds=settings.CALL_DEADLINE_SECONDS)
    unknown = list(
        Attempt.objects.filter(
            region=region,
            outcome=Attempt.Outcome.UNKNOWN,
            started_at__range=(since, latest),
        ).select_related("job")
    )
    if not unknown:
        return 0
    first = min(attempt.started_at for attempt in unknown) - CLOCK_SLACK
    logged = _index_by_claim(_read_log(region, start=first, end=now))
    for attempt in unknown:
        entry = logged.get((f"job:{attempt.job_id}", f"claim:{attempt.lease_token}"))
        _update(attempt, entry, now=now)
    return len(unknown)


def _read_log(
    region: Region, *, start: datetime, end: datetime
) -> Iterator[dict[str, Any]]:
    """Yield the log entries of every project the key can access, page by page."""
    manage = client.get_region_client(region).manage.v1.projects
    manage.list()
    for project in _parse_response()["projects"]:
        for page in range(1_000_000):
            manage.requests.list(
                project["project_id"], start=start, end=end, limit=PAGE_SIZE, page=page
            )
            entries = _parse_response()["requests"]
            yield from entries
            if len(entries) < PAGE_SIZE:
                break


def _parse_response() -> dict[str, Any]:
    """Return the JSON of the last response, as stored by the transport."""
    response = client.pop_response()
    document: dict[str, Any] = {}
    if response:
        check_depth(response.content)
        document = response.json()
    return document


def _index_by_claim(
    entries: Iterable[dict[str, Any]],
) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        tags = _get_details(entry).get("tags") or []
        jobs = [tag for tag in tags if tag.startswith("job:")]
        claims = [tag for tag in tags if tag.startswith("claim:")]
        if jobs and claims:
            found[jobs[-1], claims[-1]] = entry
    return found


def _update(attempt: Attempt, entry: dict[str, Any] | None, *, now: datetime) -> None:
    fields: dict[str, Any] = {"error_code": NEVER_ARRIVED, "cost_estimate": 0}
    outcome = Attempt.Outcome.ERROR
    if entry:
        status = int(_parse_number(entry.get("code")))
        seconds = _parse_number(_get_details(entry).get("duration"))
        is_success = status == 200  # noqa: PLR2004
        outcome = Attempt.Outcome.OK if is_success else Attempt.Outcome.ERROR
        fields = {
            "request_id": entry.get("request_id", ""),
            "status_code": status or None,
            "audio_seconds": seconds,
            "cost_estimate": prices.estimate_cost(
                model=str(attempt.job.options.get("model", "")),
                audio_seconds=seconds if is_success else 0,
                channels=1,
                per_minute=settings.PRICES_PER_MINUTE,
            ),
        }
    unknown = Attempt.objects.filter(pk=attempt.pk, outcome=Attempt.Outcome.UNKNOWN)
    with transaction.atomic():
        if unknown.update(outcome=outcome, reconciled_at=now, **fields):
            quotas.count_late(attempt)


def _parse_number(value: Any) -> float:
    """Return a number of the log; 0 if it is not a finite number."""
    try:
        number = float(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def _get_details(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the response details of a log entry, or {}."""
    response = entry.get("response")
    details = response.get("details") if isinstance(response, dict) else None
    return details if isinstance(details, dict) else {}

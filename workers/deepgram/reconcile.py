"""Hold the ledger against Deepgram's own log of requests.

A worker that dies in a call leaves an *unknown* attempt, which counts as spent.
Deepgram knows how it ended: the tags ``job:<id>`` and ``claim:<token>`` find it there.
https://developers.deepgram.com/reference/manage/requests/list
"""

import logging
import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from jobs.bounded_json import check_depth
from jobs.models import Attempt, Region
from jobs.quotas import quotas
from transcripts import prices
from workers.deepgram import client

logger = logging.getLogger(__name__)

PAGE = 1000
# Clocks differ; a call logged this much before its attempt is still the same.
CLOCK_SLACK = timedelta(minutes=2)
NEVER_ARRIVED = "never_arrived"


def reconcile_region(region: Region, *, now: datetime, since: datetime) -> int:
    """Close the region's unknown attempts as the log has them; return how many.

    Attempts younger than a call may last are left for later. One that the log does not
    have never arrived and cost nothing. Raises what the SDK raises.
    """
    settled = now - timedelta(seconds=settings.CALL_DEADLINE_SECONDS)
    unknown = list(
        Attempt.objects.filter(
            region=region,
            outcome=Attempt.Outcome.UNKNOWN,
            started_at__range=(since, settled),
        ).select_related("job")
    )
    if not unknown:
        return 0
    first = min(attempt.started_at for attempt in unknown) - CLOCK_SLACK
    logged = _by_claim(_read_log(region, start=first, end=now))
    for attempt in unknown:
        entry = logged.get((f"job:{attempt.job_id}", f"claim:{attempt.lease_token}"))
        _close(attempt, entry, now=now)
    return len(unknown)


def _read_log(
    region: Region, *, start: datetime, end: datetime
) -> Iterator[dict[str, Any]]:
    """Yield the log's entries, page by page, of every project the key may see."""
    manage = client.get_region_client(region).manage.v1.projects
    manage.list()
    for project in _answer()["projects"]:
        for page in range(1_000_000):
            manage.requests.list(
                project["project_id"], start=start, end=end, limit=PAGE, page=page
            )
            entries = _answer()["requests"]
            yield from entries
            if len(entries) < PAGE:
                break


def _answer() -> dict[str, Any]:
    """Return the last answer's JSON, which our transport kept from the SDK."""
    answer = client.take_answer()
    document: dict[str, Any] = {}
    if answer:
        check_depth(answer.content)
        document = answer.json()
    return document


def _by_claim(
    entries: Iterable[dict[str, Any]],
) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        tags = _details(entry).get("tags") or []
        jobs = [tag for tag in tags if tag.startswith("job:")]
        claims = [tag for tag in tags if tag.startswith("claim:")]
        if jobs and claims:
            found[jobs[-1], claims[-1]] = entry
    return found


def _close(attempt: Attempt, entry: dict[str, Any] | None, *, now: datetime) -> None:
    facts: dict[str, Any] = {"error_code": NEVER_ARRIVED, "cost_estimate": 0}
    outcome = Attempt.Outcome.ERROR
    if entry:
        status = int(_number_of(entry.get("code")))
        seconds = _number_of(_details(entry).get("duration"))
        well = status == 200  # noqa: PLR2004
        outcome = Attempt.Outcome.OK if well else Attempt.Outcome.ERROR
        facts = {
            "request_id": entry.get("request_id", ""),
            "status_code": status or None,
            "audio_seconds": seconds,
            "cost_estimate": prices.estimate_cost(
                model=str(attempt.job.options.get("model", "")),
                audio_seconds=seconds if well else 0,
                channels=1,
                per_minute=settings.PRICES_PER_MINUTE,
            ),
        }
    unknown = Attempt.objects.filter(pk=attempt.pk, outcome=Attempt.Outcome.UNKNOWN)
    with transaction.atomic():
        if unknown.update(outcome=outcome, reconciled_at=now, **facts):
            quotas.count_late(attempt)


def _number_of(value: Any) -> float:
    """Return a number of the log; 0 for what is none, or is not finite."""
    try:
        number = float(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def _details(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what the log says of the response; the key moved between versions."""
    response = entry.get("response")
    details = response.get("details") if isinstance(response, dict) else None
    return details if isinstance(details, dict) else {}

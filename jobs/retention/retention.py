"""Retention periods of a job's audio, transcript and webhook payloads.

Periods start at the job's end. A tenant's apply to all its jobs; a job may request
shorter ones at submit. Expired content is erased kind by kind, in one transaction per
job, with an event as receipt. The job stays readable; ``jobs.retention.erasure`` erases
whole jobs.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from jobs.accounts import audit
from jobs.errors import InvalidRequest
from jobs.models import Content, Job, Tenant
from jobs.retention import erasure
from jobs.telemetry import log_context

logger = logging.getLogger(__name__)

CONTENT_ERASED = "job.content_erased"
MAX_DAYS = 3650
# Audio may be erased once it is transcribed. Transcripts and payloads are delivered
# first, which takes time: erased at once they would never arrive.
MIN_DAYS = {Content.AUDIO: 0, Content.TRANSCRIPT: 1, Content.PAYLOAD: 1}
_SLICE = 100


def build_retention(tenant: Tenant, days: Mapping[str, int]) -> dict[str, int]:
    """Return the ``Job.retention`` of a new job: days by name.

    Raises InvalidRequest for more days than the tenant allows. A limit of 0 is copied
    to the job, because jobs' own periods are checked every minute, tenants' every hour.
    """
    own = dict(days)
    for content in Content:
        name, limit = content.setting, _find_limit(tenant, content)
        if limit is None:
            continue
        if own.get(name, 0) > limit:
            message = f"Your account allows at most {limit} days."
            pointer = f"/retention/{name}"
            raise InvalidRequest(message, code="retention_too_long", pointer=pointer)
        if limit == 0:
            own[name] = 0
    return own


def shorten(tenant: Tenant, retention: Mapping[str, int]) -> dict[str, int]:
    """Return the retention of a retried job, cut to the tenant's current limits."""
    shortened = {}
    for content in Content:
        if (days := retention.get(content.setting)) is not None:
            limit = _find_limit(tenant, content)
            shortened[content.setting] = days if limit is None else min(days, limit)
    return shortened


def plan(jobs: Iterable[Job], *, at: datetime) -> None:
    """Set ``content_due_at`` of jobs that ended, if they have periods of their own."""
    ended: dict[int, list[Any]] = defaultdict(list)
    for job in jobs:
        if job.retention:
            ended[min(job.retention.values())].append(job.pk)
    for days, ids in ended.items():
        due_at = at + timedelta(days=days)
        Job.objects.filter(pk__in=ids).update(content_due_at=due_at)


def erase_own_due(*, limit: int, now: datetime) -> int:
    """Erase content by jobs' own periods, up to ``limit`` jobs; return how many."""
    due = Job.objects.filter(content_due_at__lte=now).order_by("content_due_at")
    return _erase_slices(due, limit=limit, now=now)


def erase_of_tenants(*, limit: int, now: datetime) -> int:
    """Erase content by tenants' periods, up to ``limit`` jobs; return how many.

    Round robin over tenants, one slice each: a large backlog does not delay others.
    """
    has_period = Q(audio_days__isnull=False)
    has_period |= Q(transcript_days__isnull=False) | Q(payload_days__isnull=False)
    tenants = list(Tenant.objects.filter(has_period).order_by("pk"))
    erased = 0
    while tenants and erased < limit:
        for tenant in list(tenants):
            slice_limit = min(_SLICE, limit - erased)
            count = sum(
                _erase_slices(jobs, limit=slice_limit, now=now)
                for jobs in _find_due_jobs(tenant, now)
            )
            erased += count
            if not count:
                tenants.remove(tenant)
    return erased


def _erase_slices(jobs: QuerySet[Job], *, limit: int, now: datetime) -> int:
    erased = 0
    while erased < limit:
        found = list(jobs.values_list("pk", flat=True)[: min(_SLICE, limit - erased)])
        for pk in found:
            _erase_due(pk, now)
        erased += len(found)
        if len(found) < _SLICE:
            break
    return erased


def _find_due_jobs(tenant: Tenant, now: datetime) -> Iterable[QuerySet[Job]]:
    """Yield the tenant's jobs with expired content, kind by kind.

    Reads one index range per combination of kinds that are already erased.
    """
    for content in Content:
        days = getattr(tenant, content.setting)
        if days is None:
            continue
        for erased in range(Content.everything() + 1):
            if not erased & content:
                yield Job.objects.filter(
                    tenant=tenant,
                    erased_content=erased,
                    finished_at__lte=now - timedelta(days=days),
                    erased_at=None,
                ).order_by("finished_at")


def _erase_due(job_id: Any, now: datetime) -> None:
    """Erase a job's expired content and set the time of its next erasure."""
    with transaction.atomic():
        rows = Job.objects.select_for_update(no_key=True, of=("self",))
        job = rows.select_related("tenant").get(pk=job_id)
        if job.finished_at is None or job.erased_at:
            return
        ends = {c: job.finished_at + timedelta(days=d) for c, d in _find_periods(job)}
        due = [content for content, end in ends.items() if end <= now]
        own = [ends[c] for c in ends if c not in due and c.setting in job.retention]
        erased = _erase(job, due, now)
        job.erased_content |= sum(due)
        job.content_due_at = min(own, default=None)
        job.save(update_fields=["erased_content", "content_due_at"])
        if any(erased.values()):
            audit.record(
                type=CONTENT_ERASED,
                actor=audit.PLATFORM,
                at=now,
                tenant=job.tenant,
                job=job,
                content=[content.name.lower() for content in due],
                erased=erased,
            )
    logger.info("job content erased", extra={**log_context.fields_of(job), **erased})


def _erase(job: Job, due: Collection[Content], now: datetime) -> dict[str, int]:
    """Run each eraser of these kinds once; return the sums of their counts."""
    names = [name for content in due for name in settings.CONTENT_ERASERS[content.name]]
    erased: dict[str, int] = defaultdict(int)
    for erase in erasure.get_erasers(tuple(dict.fromkeys(names))):
        for kind, number in erase([job], now).items():
            erased[kind] += number
    return dict(erased)


def _find_periods(job: Job) -> Iterable[tuple[Content, int]]:
    """Yield each content that is not erased and its period in days, if it has one."""
    for content in Content:
        periods = (
            job.retention.get(content.setting),
            getattr(job.tenant, content.setting),
        )
        days = [each for each in periods if each is not None]
        if days and not job.erased_content & content:
            yield content, min(days)


def _find_limit(tenant: Tenant, content: Content) -> int | None:
    """Return the most days that a job of the tenant may request; None: no limit."""
    job_days = tenant.retention_days
    job_days = settings.RETENTION_DAYS if job_days is None else job_days
    limits = (getattr(tenant, content.setting), job_days or None)
    return min((days for days in limits if days is not None), default=None)

"""How long a job's audio, transcript and webhook payloads are kept after its end.

A tenant's days hold for all its jobs; a job may ask for fewer at submit, not for more.
What is over is erased kind by kind, in a transaction for each job, with an event as its
receipt. The job itself stays readable; ``jobs.retention.erasure`` ends it as a whole.
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
# Audio may go as soon as it was transcribed. The others are told to customers, which
# takes a while: erased at once they would never arrive.
MIN_DAYS = {Content.AUDIO: 0, Content.TRANSCRIPT: 1, Content.PAYLOAD: 1}
_SLICE = 100


def build_retention(tenant: Tenant, asked: Mapping[str, int]) -> dict[str, int]:
    """Return what a new job is to have of its own, in days by name.

    Raises InvalidRequest for more than the tenant's. Nothing to wait for is the job's
    own as well: it is looked after every minute, not every hour.
    """
    own = dict(asked)
    for content in Content:
        name, bound = content.setting, _bound(tenant, content)
        if bound is None:
            continue
        if own.get(name, 0) > bound:
            message = f"Your account keeps this for {bound} days at most."
            pointer = f"/retention/{name}"
            raise InvalidRequest(message, code="retention_too_long", pointer=pointer)
        if bound == 0:
            own[name] = 0
    return own


def shorten(tenant: Tenant, wanted: Mapping[str, int]) -> dict[str, int]:
    """Return the days of a job that is submitted again, no more than is allowed now."""
    shorter = {}
    for content in Content:
        if (days := wanted.get(content.setting)) is not None:
            bound = _bound(tenant, content)
            shorter[content.setting] = days if bound is None else min(days, bound)
    return shorter


def plan(jobs: Iterable[Job], *, at: datetime) -> None:
    """Note of jobs that ended when the first of their own days are over."""
    ended: dict[int, list[Any]] = defaultdict(list)
    for job in jobs:
        if job.retention:
            ended[min(job.retention.values())].append(job.pk)
    for days, ids in ended.items():
        due_at = at + timedelta(days=days)
        Job.objects.filter(pk__in=ids).update(content_due_at=due_at)


def erase_own_due(*, limit: int, now: datetime) -> int:
    """Erase what jobs asked for themselves, up to ``limit`` jobs; return how many."""
    due = Job.objects.filter(content_due_at__lte=now).order_by("content_due_at")
    return _erase_slices(due, limit=limit, now=now)


def erase_of_tenants(*, limit: int, now: datetime) -> int:
    """Erase what tenants' days are over for, up to ``limit`` jobs; return how many.

    Tenants in turn, a slice of each, so that nobody's backlog holds up the others.
    """
    limits = Q(audio_days__isnull=False)
    limits |= Q(transcript_days__isnull=False) | Q(payload_days__isnull=False)
    open_ = list(Tenant.objects.filter(limits).order_by("pk"))
    erased = 0
    while open_ and erased < limit:
        for tenant in list(open_):
            most = min(_SLICE, limit - erased)
            done = sum(
                _erase_slices(jobs, limit=most, now=now)
                for jobs in _find_kept(tenant, now)
            )
            erased += done
            if not done:
                open_.remove(tenant)
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


def _find_kept(tenant: Tenant, now: datetime) -> Iterable[QuerySet[Job]]:
    """Yield the tenant's jobs that hold what it keeps no longer, kind by kind.

    One range of the index for each set of kinds that is gone already.
    """
    for content in Content:
        days = getattr(tenant, content.setting)
        if days is None:
            continue
        for gone in range(Content.everything() + 1):
            if not gone & content:
                yield Job.objects.filter(
                    tenant=tenant,
                    erased_content=gone,
                    finished_at__lte=now - timedelta(days=days),
                    erased_at=None,
                ).order_by("finished_at")


def _erase_due(job_id: Any, now: datetime) -> None:
    """Erase what of a job is over, and note when the next of it will be."""
    with transaction.atomic():
        rows = Job.objects.select_for_update(no_key=True, of=("self",))
        job = rows.select_related("tenant").get(pk=job_id)
        if job.finished_at is None or job.erased_at:
            return
        ends = {c: job.finished_at + timedelta(days=d) for c, d in _days(job)}
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
    """Run each eraser of these kinds once; what several count is added up."""
    names = [name for content in due for name in settings.CONTENT_ERASERS[content.name]]
    erased: dict[str, int] = defaultdict(int)
    for erase in erasure.get_erasers(tuple(dict.fromkeys(names))):
        for kind, number in erase([job], now).items():
            erased[kind] += number
    return dict(erased)


def _days(job: Job) -> Iterable[tuple[Content, int]]:
    """Yield what has an end and is still there, and its days: the fewer hold."""
    for content in Content:
        given = (
            job.retention.get(content.setting),
            getattr(job.tenant, content.setting),
        )
        days = [each for each in given if each is not None]
        if days and not job.erased_content & content:
            yield content, min(days)


def _bound(tenant: Tenant, content: Content) -> int | None:
    """Return the most days that a job of the tenant may ask for."""
    whole = tenant.retention_days
    whole = settings.RETENTION_DAYS if whole is None else whole
    given = (getattr(tenant, content.setting), whole or None)
    return min((days for days in given if days is not None), default=None)

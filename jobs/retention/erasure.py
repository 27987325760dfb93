"""Erase a job's customer data and leave a tombstone, so that usage still adds up.

The functions named in ``settings.ERASERS`` erase the data of other packages; each gets
locked jobs and returns counts for the receipt. All run in one transaction; stored
objects are deleted after its commit.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.module_loading import import_string

from jobs.accounts import audit
from jobs.errors import JobStateError
from jobs.models import Batch, BatchError, Content, Event, IdempotencyKey, Job, Tenant
from jobs.retention import stored_objects
from jobs.telemetry import log_context

logger = logging.getLogger(__name__)

Eraser = Callable[[Sequence[Job], datetime], dict[str, int]]

ERASED = "job.erased"
# Keys of an event's data that reveal nothing about the audio or its transcript.
_RETAINED_EVENT_DATA = {
    *("attempt", "cause", "content", "erased", "expires_at", "format"),
    *("priority", "reason", "region", "run_at"),
    # Of batch events.
    *("batch_id", "counts", "created_at", "finished_at", "id", "object"),
    *("audio_seconds_done", "cost_estimate", "currency", "outcome", "percent"),
    *("fields", "job_id", "retry_of"),
    *("skipped", "status", "total"),
}
_SLICE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The number of erased objects of a job by kind, and the time."""

    job: Job
    erased_at: datetime
    erased: dict[str, int]


def erase_job(*, job: Job, actor: str, now: datetime) -> Receipt:
    """Erase the job's content and return the receipt; idempotent.

    Raises JobStateError if the job is not final.
    """
    with transaction.atomic():
        current = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
        if not current.is_final:
            message = f"The job is {current.status}: cancel it or wait until it ends."
            raise JobStateError(message)
        if current.erased_at:
            return _find_receipt(current, current.erased_at)
        erased: dict[str, int] = {}
        for erase in get_erasers(tuple(settings.ERASERS)):
            erased |= erase([current], now)
        audit.record(
            type=ERASED,
            actor=actor,
            at=now,
            tenant=current.tenant,
            job=current,
            erased=erased,
        )
    logger.info("job erased", extra={**log_context.fields_of(job), **erased})
    return Receipt(job=current, erased_at=now, erased=erased)


def erase_expired(*, limit: int, now: datetime) -> int:
    """Erase up to ``limit`` jobs past their tenant's retention; return how many.

    One transaction per job, round robin over tenants: a large backlog does not delay
    others.
    """
    expired = {
        tenant: _cutoff(tenant, now) for tenant in _find_tenants_with_retention()
    }
    erased = 0
    while expired and erased < limit:
        for tenant, cutoff in list(expired.items()):
            jobs = _find_expired(tenant, cutoff)[: min(_SLICE, limit - erased)]
            for job in jobs:
                erase_job(job=job, actor=audit.PLATFORM, now=now)
            erased += len(jobs)
            if len(jobs) < _SLICE:
                del expired[tenant]
    return erased


def erase_own(jobs: Sequence[Job], now: datetime) -> dict[str, int]:
    """Erase the data in this package's tables; one of ``settings.ERASERS``."""
    audio = _erase_uploads(jobs, now)
    for job in jobs:
        _write_tombstone(job, now)
    batches = _erase_batches({job.batch_id for job in jobs if job.batch_id}, now)
    answers = _locations(jobs) + [f"/v1/batches/{batch.pk}" for batch in batches]
    return {
        "audio": audio,
        "batches": len(batches),
        "events": _erase_event_data(Q(job__in=jobs) | Q(batch__in=batches)),
        "idempotency_answers": _erase_answers(answers, now),
    }


def erase_audio(jobs: Sequence[Job], now: datetime) -> dict[str, int]:
    """Erase only the audio of jobs: the upload, or the URL that it was fetched from."""
    erased = {
        "audio": _erase_uploads(jobs, now),
        "audio_urls": sum(bool(job.audio_url) for job in jobs),
    }
    for job in jobs:
        job.audio_url, job.upload, job.sha256 = "", "", ""
        job.erased_content |= Content.AUDIO
        job.save(update_fields=["audio_url", "upload", "sha256", "erased_content"])
    return erased


def erase_answers(jobs: Sequence[Job], now: datetime) -> dict[str, int]:
    """Erase the stored idempotent responses, which may contain transcripts."""
    return {"idempotency_answers": _erase_answers(_locations(jobs), now)}


def _locations(jobs: Sequence[Job]) -> list[str]:
    return [f"/v1/jobs/{job.pk}" for job in jobs]


def _erase_answers(locations: Collection[str], now: datetime) -> int:
    keys = IdempotencyKey.objects.filter(location__in=locations, erased_at=None)
    return keys.update(body={}, erased_at=now)


def _write_tombstone(job: Job, now: datetime) -> None:
    """Erase all of a job but times, sizes, status and model, which usage counts."""
    tombstone: dict[str, Any] = {
        "erased_at": now,
        "content_due_at": None,
        "audio_url": "",
        "upload": "",
        "filename": "",
        "sha256": "",
        "is_silent": None,
        # Other options may contain names and search terms.
        "options": {k: v for k, v in job.options.items() if k == "model"},
        "custom_id": "",
        "metadata": {},
        "callback_url": "",
        "error_detail": "",
    }
    for name, value in tombstone.items():
        setattr(job, name, value)
    job.save(update_fields=list(tombstone))


def _erase_batches(batches: Collection[UUID], now: datetime) -> list[Batch]:
    """Erase the batches whose jobs are all erased, and return them.

    Locked, so that of two jobs erased concurrently the second sees the first.
    """
    rows = Batch.objects.select_for_update(no_key=True).filter(pk__in=batches)
    locked = [batch.pk for batch in rows.order_by("pk")]
    remaining = Job.objects.filter(batch__in=locked, erased_at=None)
    rows = Batch.objects.filter(pk__in=locked, erased_at=None)
    erased = list(rows.exclude(pk__in=remaining.values("batch")))
    BatchError.objects.filter(batch__in=erased).delete()
    for batch in erased:
        batch.erased_at, batch.metadata, batch.callback_url = now, {}, ""
    Batch.objects.bulk_update(erased, ["erased_at", "metadata", "callback_url"])
    return erased


def _erase_uploads(jobs: Sequence[Job], now: datetime) -> int:
    """Schedule deletion of uploads that no other job shares; return how many."""
    names = {job.upload for job in jobs if job.upload}
    others = Job.objects.filter(upload__in=names).exclude(upload="")
    shared = others.exclude(pk__in=[job.pk for job in jobs])
    stored_objects.erase_after_commit(sorted(names), now=now)
    return len(names - set(shared.values_list("upload", flat=True)))


def _erase_event_data(condition: Q) -> int:
    changed = []
    for event in Event.objects.filter(condition):
        data = {k: v for k, v in event.data.items() if k in _RETAINED_EVENT_DATA}
        error = event.data.get("error")
        if isinstance(error, dict) and "code" in error:
            data["error"] = {"code": error["code"]}
        if data != event.data:
            event.data = data
            changed.append(event)
    return Event.objects.bulk_update(changed, ["data"])


def _find_receipt(job: Job, erased_at: datetime) -> Receipt:
    event = Event.objects.filter(job=job, type=ERASED).order_by("pk").first()
    erased: dict[str, int] = event.data["erased"] if event else {}
    return Receipt(job=job, erased_at=erased_at, erased=erased)


def _find_tenants_with_retention() -> list[Tenant]:
    own = Q(retention_days__gt=0)
    if settings.RETENTION_DAYS:
        own |= Q(retention_days=None)
    return list(Tenant.objects.filter(own).order_by("pk"))


def _cutoff(tenant: Tenant, now: datetime) -> datetime:
    days = tenant.retention_days
    return now - timedelta(days=settings.RETENTION_DAYS if days is None else days)


def _find_expired(tenant: Tenant, cutoff: datetime) -> Any:
    return Job.objects.filter(
        tenant=tenant, finished_at__lt=cutoff, erased_at=None
    ).order_by("finished_at")


@cache
def get_erasers(names: tuple[str, ...]) -> tuple[Eraser, ...]:
    """Import the functions of these dotted names."""
    return tuple(import_string(name) for name in names)

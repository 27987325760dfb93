"""Erase what a job holds of its customer's, and leave a tombstone: sums still add up.

What hangs on a job in other packages is erased by the functions that
``settings.ERASERS`` names; each gets locked jobs and returns counts for the receipt.
All of it is one transaction; stored objects follow after its commit.
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
# What of an event's data says nothing of the audio or its transcript.
_KEPT = {
    *("attempt", "cause", "content", "erased", "expires_at", "format"),
    *("priority", "reason", "region", "run_at"),
    # Of a batch.
    *("batch_id", "counts", "created_at", "finished_at", "id", "object"),
    *("audio_seconds_done", "cost_estimate", "percent", "retry_of"),
    *("skipped", "status", "total"),
}
_SLICE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was erased of a job, per kind, and when."""

    job: Job
    erased_at: datetime
    erased: dict[str, int]


def erase_job(*, job: Job, actor: str, now: datetime) -> Receipt:
    """Erase the job's content for good and return the receipt; twice is the same one.

    Raises JobStateError while the job is not final.
    """
    with transaction.atomic():
        current = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
        if not current.is_final:
            message = f"The job is {current.status}: cancel it first, or wait."
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
    """Erase up to ``limit`` jobs whose tenant's retention is over; return how many.

    One transaction a job, tenants in turn, so that a large backlog of one of them holds
    up nobody.
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
    """Erase what the rows of this package hold; one of ``settings.ERASERS``."""
    audio = _erase_uploads(jobs, now)
    for job in jobs:
        _empty(job, now)
    batches = _empty_batches({job.batch_id for job in jobs if job.batch_id}, now)
    answers = _locations(jobs) + [f"/v1/batches/{batch.pk}" for batch in batches]
    return {
        "audio": audio,
        "batches": len(batches),
        "events": _erase_event_data(Q(job__in=jobs) | Q(batch__in=batches)),
        "idempotency_answers": _erase_answers(answers, now),
    }


def erase_audio(jobs: Sequence[Job], now: datetime) -> dict[str, int]:
    """Erase the audio of jobs that stay: the upload, or where it was fetched from."""
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
    """Erase the stored answers of jobs, which may hold their transcripts."""
    return {"idempotency_answers": _erase_answers(_locations(jobs), now)}


def _locations(jobs: Sequence[Job]) -> list[str]:
    return [f"/v1/jobs/{job.pk}" for job in jobs]


def _erase_answers(locations: Collection[str], now: datetime) -> int:
    kept = IdempotencyKey.objects.filter(location__in=locations, erased_at=None)
    return kept.update(body={}, erased_at=now)


def _empty(job: Job, now: datetime) -> None:
    """Leave a tombstone: times, sizes, status, model; what usage and ledger count."""
    tombstone: dict[str, Any] = {
        "erased_at": now,
        "content_due_at": None,
        "audio_url": "",
        "upload": "",
        "filename": "",
        "sha256": "",
        "is_silent": None,
        # The rest may hold names and search terms.
        "options": {k: v for k, v in job.options.items() if k == "model"},
        "custom_id": "",
        "metadata": {},
        "callback_url": "",
        "error_detail": "",
    }
    for name, value in tombstone.items():
        setattr(job, name, value)
    job.save(update_fields=list(tombstone))


def _empty_batches(batches: Collection[UUID], now: datetime) -> list[Batch]:
    """Empty the batches whose last job this was, and return them.

    Locked, so that of two last jobs erased at once the second sees the first.
    """
    rows = Batch.objects.select_for_update(no_key=True).filter(pk__in=batches)
    locked = [batch.pk for batch in rows.order_by("pk")]
    kept = Job.objects.filter(batch__in=locked, erased_at=None)
    rows = Batch.objects.filter(pk__in=locked, erased_at=None)
    emptied = list(rows.exclude(pk__in=kept.values("batch")))
    BatchError.objects.filter(batch__in=emptied).delete()
    for batch in emptied:
        batch.erased_at, batch.metadata, batch.callback_url = now, {}, ""
    Batch.objects.bulk_update(emptied, ["erased_at", "metadata", "callback_url"])
    return emptied


def _erase_uploads(jobs: Sequence[Job], now: datetime) -> int:
    """Have the uploads deleted that no other job shares; return how many."""
    names = {job.upload for job in jobs if job.upload}
    others = Job.objects.filter(upload__in=names).exclude(upload="")
    shared = others.exclude(pk__in=[job.pk for job in jobs])
    stored_objects.erase_after_commit(sorted(names), now=now)
    return len(names - set(shared.values_list("upload", flat=True)))


def _erase_event_data(about: Q) -> int:
    changed = []
    for event in Event.objects.filter(about):
        kept = {key: value for key, value in event.data.items() if key in _KEPT}
        error = event.data.get("error")
        if isinstance(error, dict) and "code" in error:
            kept["error"] = {"code": error["code"]}
        if kept != event.data:
            event.data = kept
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
    """Return the functions of these names."""
    return tuple(import_string(name) for name in names)

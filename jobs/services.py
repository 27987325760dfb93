"""Every change of a job's state.

``advance`` is the only writer of ``Job.status``: one UPDATE … RETURNING fenced by the
old status (and by whatever the queryset filters, a lease token above all), one bulk
INSERT of events, one transaction. Getting nothing back means somebody was first.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.db.models.sql import UpdateQuery

from jobs.accounts import audit
from jobs.errors import Erased, InvalidRequest, JobStateError
from jobs.models import (
    ApiKey,
    Attempt,
    Batch,
    CallbackStyle,
    Content,
    Event,
    Job,
    Mode,
    Priority,
    Region,
    Tenant,
)
from jobs.quotas import quotas
from jobs.retention import retention
from jobs.routing import regions, routing_keys
from jobs.state import FINAL, JobStatus, sources_of
from jobs.telemetry import log_context, metrics, tracing

logger = logging.getLogger(__name__)

_RELEASED: dict[str, Any] = {
    "lease_until": None,
    "started_at": None,
    "worker": "",
    "region": None,
}
# What a retried job does not inherit.
_OF_ONE_GO = {
    "expires_at",
    "allowed_regions",
    "mode",
    "route",
    "ready",
    "run_at",
    "retention",
}
_NO_AUDIO = "A live session's audio is not kept: there is nothing to transcribe again."
# Ends that come from outside, whatever the job's worker is doing.
_LET_GO = frozenset({JobStatus.CANCELED, JobStatus.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDraft:
    """A job as a customer asked for it, checked and not yet written."""

    audio_url: str = ""
    upload: str = ""
    filename: str = ""
    content_type: str = ""
    size_bytes: int | None = None
    sha256: str = ""
    duration_seconds: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    callback_url: str = ""
    callback_style: str = CallbackStyle.WEBHOOK
    priority: int = Priority.NORMAL
    mode: str = "async"
    route: dict[str, Any] = field(default_factory=dict)
    # Not ready: it waits at a door, and is the queue's from ``run_at`` on.
    ready: bool = True
    run_at: datetime | None = None
    max_attempts: int | None = None
    expires_at: datetime | None = None
    channels: int | None = None
    is_silent: bool | None = None
    allowed_regions: list[str] = field(default_factory=list)
    # Days after its end, by name, that it is to keep things: see jobs.retention.retention.
    retention: dict[str, int] = field(default_factory=dict)
    custom_id: str = ""


def submit_job(
    *, tenant: Tenant, api_key: ApiKey | None, draft: JobDraft, now: datetime
) -> Job:
    """Write the job and its first event; the dispatcher finds it by itself.

    Raises InvalidRequest for a priority or a region that the tenant may not use.
    """
    job = build_job(tenant=tenant, api_key=api_key, draft=draft, now=now)
    insert_jobs([job], api_key=api_key, now=now)
    logger.info("job %s", job.status, extra=log_context.fields_of(job))
    return job


def build_job(
    *,
    tenant: Tenant,
    api_key: ApiKey | None,
    draft: JobDraft,
    now: datetime,
    known: Callable[[], Mapping[str, Any]] = regions.read_pools,
) -> Job:
    """Return the job of a draft, not yet written.

    Raises InvalidRequest for a priority or a region that the tenant may not use.
    ``known`` reads the regions; who builds many jobs reads them once.
    """
    _check_priority(tenant, draft.priority)
    options = build_options(tenant, draft.options)
    lane = regions.build_lane_of(
        tenant=tenant, asked=draft.allowed_regions, options=options, known=known
    )
    return Job(
        tenant=tenant,
        api_key=api_key,
        created_at=now,
        **{
            name: getattr(draft, name)
            for name in JobDraft.__dataclass_fields__
            if name not in {"max_attempts", "options", "allowed_regions", "retention"}
        },
        options=options,
        retention=retention.build_retention(tenant, draft.retention),
        lane=lane,
        traceparent=tracing.current_traceparent(),
        max_attempts=draft.max_attempts or settings.MAX_ATTEMPTS,
    )


def _check_priority(tenant: Tenant, priority: int) -> None:
    if priority < tenant.highest_priority:
        message = "This priority is higher than your account may use."
        raise InvalidRequest(message, code="priority_not_allowed", pointer="/priority")


def insert_jobs(jobs: Sequence[Job], *, api_key: ApiKey | None, now: datetime) -> None:
    """Write new jobs of one tenant, created at ``now``, and the first event of each.

    Raises LimitExceeded, with nothing written.
    """
    with transaction.atomic(savepoint=False):
        quotas.reserve(jobs=jobs, now=now)
        Job.objects.bulk_create(jobs)
        submitted = {"reason": "submitted"}
        _write_events(jobs, at=now, data=submitted, actor=audit.actor_of(api_key))
        for job in jobs:
            if not job.batch_id:  # those of a batch are counted with it
                transaction.on_commit(metrics.SUBMITTED.labels(job.mode).inc)


def build_options(tenant: Tenant, asked: dict[str, Any]) -> dict[str, Any]:
    """Lay the customer's options over the tenant's over the platform's."""
    return {**settings.DEFAULT_OPTIONS, **tenant.default_options, **asked}


def retry_job(*, job: Job, api_key: ApiKey | None, now: datetime) -> Job:
    """Submit a final job again as a new one; final is final.

    Raises JobStateError while the first one is still running, and Erased when there is
    nothing left to transcribe.
    """
    with transaction.atomic():
        # Not to be erased meanwhile: the new job shares its audio.
        current = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
        if not current.is_final:
            raise JobStateError(f"The job is {current.status}: it has not ended yet.")
        if current.erased_at or current.has_erased(Content.AUDIO):
            raise Erased
        if current.mode == Mode.LIVE:
            raise JobStateError(_NO_AUDIO, code="live_not_retryable")
        again = submit_job(
            tenant=job.tenant, api_key=api_key, draft=draft_retry(current), now=now
        )
        Job.objects.filter(pk=again.pk).update(retry_of=job)
    again.retry_of = job
    return again


def draft_retry(job: Job) -> JobDraft:
    """Return what to submit to have the job run again, as a new one."""
    return JobDraft(
        **{
            name: getattr(job, name)
            for name in JobDraft.__dataclass_fields__
            if name not in _OF_ONE_GO
        },
        retention=retention.shorten(job.tenant, job.retention),
        allowed_regions=sorted(routing_keys.regions_of(job.lane)),
    )


def cancel_job(*, job: Job, now: datetime, actor: str = "") -> Job:
    """Cancel a job; a call under way is let go and its result dropped.

    Canceling twice is harmless; any other final status raises JobStateError.
    """
    rows = Job.objects.filter(pk=job.pk)
    moved = advance(rows, to=JobStatus.CANCELED, at=now, actor=actor)
    current = moved[0] if moved else rows.get()
    if current.status != JobStatus.CANCELED:
        raise JobStateError(f"The job is {current.status}: it cannot be canceled.")
    return current


def reprioritize_job(*, job: Job, priority: int, now: datetime, actor: str = "") -> Job:
    """Move a waiting job within its tenant's queue, effective at the next tick.

    Raises JobStateError once it was claimed: what runs has had its turn. Raises
    InvalidRequest for a priority that its tenant may not use.
    """
    _check_priority(job.tenant, priority)
    with transaction.atomic():
        waiting = Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED)
        moved = _update_returning(waiting, changes={"priority": priority})
        if not moved:
            raise JobStateError("Only a queued job can be given another priority.")
        data = {"reason": "reprioritized", "priority": priority}
        _write_events(moved, at=now, data=data, actor=actor)
    return moved[0]


def pause_tenant(*, tenant: Tenant, now: datetime, actor: str = "") -> None:
    """Claim nothing more of this tenant; what runs ends, submits are accepted."""
    _mark_tenant(tenant, is_paused=True, kind="tenant.paused", at=now, actor=actor)


def resume_tenant(*, tenant: Tenant, now: datetime, actor: str = "") -> None:
    """Claim the tenant's jobs again from the next tick on."""
    _mark_tenant(tenant, is_paused=False, kind="tenant.resumed", at=now, actor=actor)


def _mark_tenant(
    tenant: Tenant, *, is_paused: bool, kind: str, at: datetime, actor: str
) -> None:
    with transaction.atomic():
        Tenant.objects.filter(pk=tenant.pk).update(is_paused=is_paused)
        audit.record(type=kind, actor=actor, at=at, tenant=tenant)


def advance(
    jobs: QuerySet[Job],
    *,
    to: JobStatus,
    at: datetime,
    data: dict[str, Any] | None = None,
    actor: str = "",
    **changes: Any,
) -> list[Job]:
    """Move every job of the queryset that may go there; return those that moved.

    The queryset must not be sliced or joined: it becomes the WHERE of one UPDATE.
    """
    changes["status"] = to
    if to in FINAL:
        changes |= {"finished_at": at, "lease_until": None}
    if to == JobStatus.QUEUED:
        changes = _RELEASED | changes
    # No savepoint of its own: whoever is around this fails with it.
    with transaction.atomic(savepoint=False):
        if to in _LET_GO:
            _wait_for_calls(jobs)
        moved = _update_returning(
            jobs.filter(status__in=sources_of(to)), changes=changes
        )
        if to == JobStatus.QUEUED:
            _hold_paused(moved)
        if to in _LET_GO:
            _let_go_calls(moved, at=at)
        if to in FINAL:
            quotas.settle(moved)
            retention.plan(moved, at=at)
            transaction.on_commit(partial(metrics.count_ended, moved))
        _write_events(moved, at=at, data=data or {}, actor=actor)
    for job in moved:
        logger.info("job %s", to, extra=log_context.fields_of(job))
    return moved


def _hold_paused(jobs: Iterable[Job]) -> None:
    """Hold what comes back into the queue while its batch is paused."""
    back = {job.pk: job for job in jobs if job.batch_id and job.ready}
    if not back:
        return
    batches = [job.batch_id for job in back.values() if job.batch_id]
    paused = Batch.objects.filter(pk__in=batches, is_paused=True)
    held = Job.objects.filter(pk__in=back, batch__in=paused)
    for pk in list(held.values_list("pk", flat=True)):
        back[pk].ready, back[pk].run_at = False, None
    held.update(ready=False, run_at=None)


def _wait_for_calls(jobs: QuerySet[Job]) -> None:
    """Lock the open calls before their jobs, as whoever ends a call does.

    The other way round the two would wait for each other.
    """
    open_calls = Attempt.objects.filter(job__in=jobs, outcome=Attempt.Outcome.OPEN)
    list(open_calls.select_for_update(of=("self",)).values_list("pk"))


def _let_go_calls(jobs: Iterable[Job], *, at: datetime) -> None:
    """Close the calls that nobody waits for any more as *unknown*.

    Their jobs have no lease that could show a dead worker; a living one says how the
    call ended.
    """
    Attempt.objects.filter(
        job_id__in=[job.pk for job in jobs if job.started_at],
        outcome=Attempt.Outcome.OPEN,
    ).update(outcome=Attempt.Outcome.UNKNOWN, error_code="let_go", finished_at=at)


def _update_returning(jobs: QuerySet[Job], *, changes: dict[str, Any]) -> list[Job]:
    """UPDATE … RETURNING, which Django's ORM does not have (ticket 28682)."""
    query: Any = jobs.query.chain(UpdateQuery)
    query.add_update_values(changes)
    sql, params = query.get_compiler(DEFAULT_DB_ALIAS).as_sql()
    return list(Job.objects.raw(f"{sql} RETURNING *", params))


def _write_events(
    jobs: Iterable[Job], *, at: datetime, data: dict[str, Any], actor: str
) -> None:
    """Write one event a job; only final ones are still to be told to somebody."""
    Event.objects.bulk_create(
        Event(
            tenant_id=job.tenant_id,
            job_id=job.pk,
            type=f"job.{job.status}",
            data=data | _event_data(job),
            actor=actor,
            created_at=at,
            fanned_out_at=None if job.is_final else at,
        )
        for job in jobs
    )


def _event_data(job: Job) -> dict[str, Any]:
    data: dict[str, Any] = {"attempt": job.attempt}
    if job.region_id:
        data["region"] = job.region_id
    if job.error_code:
        data["error"] = {"code": job.error_code, "detail": job.error_detail}
    if job.run_at and job.status == JobStatus.QUEUED:
        data["run_at"] = job.run_at
    return data


def start_call(
    *, job_id: UUID, lease_token: int, worker: str, now: datetime
) -> tuple[Job, Attempt] | None:
    """Begin the one call of this claim, or return None when the claim is stale.

    The attempt is committed *open* before any money is spent; a second message for
    the same claim finds ``started_at`` set and ends here.
    """
    with transaction.atomic():
        started = _update_returning(
            Job.objects.filter(
                pk=job_id,
                lease_token=lease_token,
                status=JobStatus.PROCESSING,
                started_at=None,
            ),
            changes={
                "started_at": now,
                "worker": worker,
                "attempt": models.F("attempt") + 1,
                "lease_until": Now() + lease_time(),
            },
        )
        if not started:
            return None
        attempt = Attempt.objects.create(
            job=started[0],
            tenant_id=started[0].tenant_id,
            model=str(started[0].options.get("model", ""))[:100],
            trace_id=tracing.trace_id_of(started[0].traceparent),
            lease_token=lease_token,
            region=Region.objects.get(pk=started[0].region_id),
            worker=worker,
            started_at=now,
        )
    return started[0], attempt


def lease_time() -> timedelta:
    """Return how long a claim lives without a heartbeat."""
    return timedelta(seconds=settings.LEASE_SECONDS)


def close_attempt(
    attempt: Attempt, *, outcome: Attempt.Outcome, now: datetime, **facts: Any
) -> bool:
    """Close the attempt once, whatever became of its job; false if it was closed.

    Whoever made the call knows more than whoever took it for lost.
    """
    closed = Attempt.objects.filter(
        pk=attempt.pk, outcome__in=[Attempt.Outcome.OPEN, Attempt.Outcome.UNKNOWN]
    ).update(outcome=outcome, finished_at=now, **{"error_code": "", **facts})
    if closed:
        count = partial(
            metrics.count_call, attempt, outcome=outcome, now=now, facts=facts
        )
        transaction.on_commit(count)
    return closed > 0


def renew_leases(job_ids: Iterable[UUID], *, worker: str) -> set[UUID]:
    """Extend the leases of the calls this worker is running, and of no other's.

    By the database's clock, which is the one that leases are judged by. Returns whose.
    """
    running = Job.objects.filter(
        pk__in=job_ids, worker=worker, status=JobStatus.PROCESSING
    )
    lease_until = Now() + lease_time()
    renewed = _update_returning(running, changes={"lease_until": lease_until})
    return {job.pk for job in renewed}

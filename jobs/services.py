"""Create jobs and change their state.

``advance`` and, for many calls at once, ``claim_jobs`` and ``end_calls`` of
``jobs.calls`` are the only writers of ``Job.status``: one UPDATE … RETURNING fenced by
the old status and the conditions (above all the lease token), one bulk INSERT of
events, one transaction. An empty result means that the job changed concurrently.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, models, transaction
from django.db.models import QuerySet
from django.db.models.sql import UpdateQuery
from django.utils.module_loading import import_string

from jobs import option_values
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
    Tenant,
    prepared_statements,
)
from jobs.quotas import quotas
from jobs.rest.serializers import check_metadata
from jobs.retention import retention
from jobs.routing import regions, routing_keys
from jobs.state import FINAL, JobStatus, find_sources
from jobs.telemetry import log_context, metrics, tracing

logger = logging.getLogger(__name__)

_REQUEUE_CHANGES: dict[str, Any] = {
    "lease_until": None,
    "started_at": None,
    "worker": "",
    "region": None,
}

_NOT_COPIED_ON_RETRY = {
    "expires_at",
    "allowed_regions",
    "mode",
    "route",
    "ready",
    "run_at",
    "retention",
    "warnings",
}
_LIVE_NOT_RETRYABLE = (
    "A live job cannot be retried: the audio of live sessions is not stored."
)
# These ends do not come from the job's worker, which may be in an upstream call.
_EXTERNAL_ENDS = frozenset({JobStatus.CANCELED, JobStatus.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDraft:
    """The checked input of a job that is not saved yet."""

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
    # False: a synchronous request claims it; the dispatcher may from ``run_at`` on.
    ready: bool = True
    run_at: datetime | None = None
    max_attempts: int | None = None
    expires_at: datetime | None = None
    channels: int | None = None
    is_silent: bool | None = None
    allowed_regions: list[str] = field(default_factory=list)
    # Days to retain each content after the job ends: see jobs.retention.retention.
    retention: dict[str, int] = field(default_factory=dict)
    custom_id: str = ""
    # About the audio, each with a code and a sentence.
    warnings: list[dict[str, str]] = field(default_factory=list)


def submit_job(
    *,
    tenant: Tenant,
    api_key: ApiKey | None,
    draft: JobDraft,
    now: datetime,
    build_record: Callable[[Job], models.Model | None] = lambda _job: None,
) -> Job:
    """Save a job and its first event; the dispatcher polls for it.

    ``build_record`` may return another row to insert with the same statement. Raises
    InvalidRequest for a priority or a region that the tenant may not use.
    """
    job = build_job(tenant=tenant, api_key=api_key, draft=draft, now=now)
    insert_job(job, api_key=api_key, now=now, build_record=build_record)
    logger.info("job %s", job.status, extra=log_context.fields_of(job))
    return job


def build_job(
    *,
    tenant: Tenant,
    api_key: ApiKey | None,
    draft: JobDraft,
    now: datetime,
    read_pools: Callable[[], Mapping[str, Any]] = regions.read_pools,
) -> Job:
    """Build an unsaved job from a draft.

    Raises InvalidRequest for a priority or a region that the tenant may not use.
    ``read_pools`` returns the regions; bulk callers pass a cached one.
    """
    _check_priority(tenant, draft.priority)
    options = build_options(tenant, draft.options)
    routing_key = regions.choose_routing_key(
        tenant=tenant,
        requested=draft.allowed_regions,
        options=options,
        read_pools=read_pools,
    )
    return Job(
        tenant=tenant,
        api_key=api_key,
        created_at=now,
        **{
            name: getattr(draft, name)
            for name in JobDraft.__dataclass_fields__
            if name
            not in {
                *("max_attempts", "options", "allowed_regions", "retention"),
                "warnings",
            }
        },
        options=options,
        warnings=[*draft.warnings, *option_values.find_warnings(options)],
        retention=retention.build_retention(tenant, draft.retention),
        lane=routing_key,
        traceparent=tracing.current_traceparent(),
        max_attempts=draft.max_attempts or settings.MAX_ATTEMPTS,
    )


def _check_priority(tenant: Tenant, priority: int) -> None:
    if priority < tenant.highest_priority:
        message = "This priority exceeds your account's highest priority."
        raise InvalidRequest(message, code="priority_not_allowed", pointer="/priority")


def insert_job(
    job: Job,
    *,
    api_key: ApiKey | None,
    now: datetime,
    build_record: Callable[[Job], models.Model | None] = lambda _job: None,
) -> None:
    """Save one job as ``insert_jobs`` does, but with one statement."""
    with quotas.reserving([job], now=now):
        event = _build_event(
            job, at=now, data={"reason": "submitted"}, actor=audit.get_actor(api_key)
        )
        record = build_record(job)
        prepared_statements.insert(job, event, *([record] if record else []))
    transaction.on_commit(metrics.SUBMITTED.labels(job.mode).inc)


def insert_jobs(jobs: Sequence[Job], *, api_key: ApiKey | None, now: datetime) -> None:
    """Save new jobs of one tenant, created at ``now``, and the first event of each.

    Raises LimitExceeded and saves nothing when a quota is exhausted.
    """
    with transaction.atomic(savepoint=False):
        quotas.reserve(jobs=jobs, now=now)
        Job.objects.bulk_create(jobs)
        submitted = {"reason": "submitted"}
        write_events(jobs, at=now, data=submitted, actor=audit.get_actor(api_key))
        for job in jobs:
            if not job.batch_id:  # a batch counts its jobs itself
                transaction.on_commit(metrics.SUBMITTED.labels(job.mode).inc)


def build_options(tenant: Tenant, options: dict[str, Any]) -> dict[str, Any]:
    """Merge options: the request's override the tenant's, these the platform's."""
    return {**settings.DEFAULT_OPTIONS, **tenant.default_options, **options}


def retry_job(*, job: Job, api_key: ApiKey | None, now: datetime) -> Job:
    """Submit a new job with the input of a final one.

    Raises JobStateError if the job has not ended, and Erased if its audio is erased.
    """
    with transaction.atomic():
        # The lock keeps erasure away: the new job shares the audio.
        current = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
        if not current.is_final:
            raise JobStateError(f"The job is {current.status}: it has not ended yet.")
        if current.erased_at or current.has_erased(Content.AUDIO):
            raise Erased
        if current.mode == Mode.LIVE:
            raise JobStateError(_LIVE_NOT_RETRYABLE, code="live_not_retryable")
        retry = submit_job(
            tenant=job.tenant,
            api_key=api_key,
            draft=build_retry_draft(current),
            now=now,
        )
        Job.objects.filter(pk=retry.pk).update(retry_of=job)
    retry.retry_of = job
    return retry


def build_retry_draft(job: Job) -> JobDraft:
    """Build the draft of a new job with the input of this one."""
    return JobDraft(
        **{
            name: getattr(job, name)
            for name in JobDraft.__dataclass_fields__
            if name not in _NOT_COPIED_ON_RETRY
        },
        retention=retention.shorten(job.tenant, job.retention),
        allowed_regions=sorted(routing_keys.parse_regions(job.lane)),
    )


def cancel_job(*, job: Job, now: datetime, actor: str = "") -> Job:
    """Cancel a job; the result of a call in progress is discarded.

    Canceling twice is harmless; any other final status raises JobStateError.
    """
    rows = Job.objects.filter(pk=job.pk)
    moved = advance(rows, to=JobStatus.CANCELED, at=now, actor=actor)
    current = moved[0] if moved else rows.get()
    if current.status != JobStatus.CANCELED:
        raise JobStateError(f"The job is {current.status}: it cannot be canceled.")
    return current


def reprioritize_job(*, job: Job, priority: int, now: datetime, actor: str = "") -> Job:
    """Change the priority of a queued job, effective at the dispatcher's next tick.

    Raises JobStateError if the job is claimed already, and InvalidRequest for a
    priority that its tenant may not use.
    """
    _check_priority(job.tenant, priority)
    with transaction.atomic():
        waiting = Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED)
        moved = update_returning(waiting, changes={"priority": priority})
        if not moved:
            raise JobStateError("Only the priority of a queued job can be changed.")
        data = {"reason": "reprioritized", "priority": priority}
        write_events(moved, at=now, data=data, actor=actor)
    return moved[0]


def update_job(
    *, job: Job, changes: Mapping[str, Any], now: datetime, actor: str = ""
) -> Job:
    """Change the customer's own data of a job: ``metadata`` and ``custom_id``.

    Metadata is merged as RFC 7396. Raises Erased, and InvalidRequest for metadata that
    exceeds its limits or a ``custom_id`` of another job of the batch.
    """
    with transaction.atomic():
        current = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
        if current.erased_at:
            raise Erased
        if "metadata" in changes:
            current.metadata = check_metadata(
                {**current.metadata, **changes["metadata"]}
            )
        if "custom_id" in changes:
            current.custom_id = changes["custom_id"] or ""
            _check_custom_id(current)
        current.save(update_fields=["metadata", "custom_id"])
        for update in _import_subscribers(tuple(settings.JOB_UPDATE_SUBSCRIBERS)):
            update(current)
        audit.record(
            type="job.updated",
            actor=actor,
            at=now,
            tenant=current.tenant,
            job_id=str(job.pk),
            fields=sorted(changes),
        )
    return current


def _check_custom_id(job: Job) -> None:
    if not job.custom_id or not job.batch_id:
        return
    same = Job.objects.filter(batch=job.batch_id, custom_id=job.custom_id)
    if same.exclude(pk=job.pk).exists():
        message = "Another job of this batch has the same custom_id."
        raise InvalidRequest(message, code="custom_id_repeated", pointer="/custom_id")


def pause_tenant(*, tenant: Tenant, now: datetime, actor: str = "") -> None:
    """Stop claiming this tenant's jobs; running jobs end, submits are accepted."""
    _set_paused(tenant, is_paused=True, event_type="tenant.paused", at=now, actor=actor)


def resume_tenant(*, tenant: Tenant, now: datetime, actor: str = "") -> None:
    """Claim the tenant's jobs again from the next tick on."""
    _set_paused(
        tenant, is_paused=False, event_type="tenant.resumed", at=now, actor=actor
    )


def _set_paused(
    tenant: Tenant, *, is_paused: bool, event_type: str, at: datetime, actor: str
) -> None:
    with transaction.atomic():
        Tenant.objects.filter(pk=tenant.pk).update(is_paused=is_paused)
        audit.record(type=event_type, actor=actor, at=at, tenant=tenant)


def advance(
    jobs: QuerySet[Job],
    *,
    to: JobStatus,
    at: datetime,
    data: dict[str, Any] | None = None,
    actor: str = "",
    **changes: Any,
) -> list[Job]:
    """Move the queryset's jobs to status ``to`` if allowed; return those moved.

    The queryset must not be sliced or joined: it becomes the WHERE of one UPDATE.
    All steps are one transaction:

    1. For a cancellation or expiry, lock the open attempts before their jobs.
    2. UPDATE the jobs whose status allows the transition, with ``changes``.
    3. Hold requeued jobs of paused batches.
    4. For a cancellation or expiry, close the open attempts as *unknown*.
    5. For a final status, settle the quotas and plan the erasure of content.
    6. Write one event per job, and for a final status its webhook deliveries.
    """
    changes["status"] = to
    if to in FINAL:
        changes |= {"finished_at": at, "lease_until": None}
    if to == JobStatus.QUEUED:
        changes = _REQUEUE_CHANGES | changes
    with transaction.atomic(savepoint=False):
        if to in _EXTERNAL_ENDS:
            _lock_open_attempts(jobs)
        moved = update_returning(
            jobs.filter(status__in=find_sources(to)), changes=changes
        )
        if to == JobStatus.QUEUED:
            _hold_jobs_of_paused_batches(moved)
        if to in _EXTERNAL_ENDS:
            _abandon_attempts(moved, at=at)
        if to in FINAL:
            record_ends(moved, at=at)
        write_events(moved, at=at, data=data or {}, actor=actor)
    for job in moved:
        logger.info("job %s", to, extra=log_context.fields_of(job))
    return moved


def record_ends(ended: Sequence[Job], *, at: datetime) -> None:
    """Settle the quotas of jobs that ended and plan the erasure of their content."""
    if ended:
        quotas.settle(ended)
        retention.plan(ended, at=at)
        transaction.on_commit(partial(metrics.count_ended, ended))


def _hold_jobs_of_paused_batches(jobs: Iterable[Job]) -> None:
    """Hold requeued jobs whose batch is paused."""
    requeued = {job.pk: job for job in jobs if job.batch_id and job.ready}
    if not requeued:
        return
    batches = [job.batch_id for job in requeued.values() if job.batch_id]
    paused = Batch.objects.filter(pk__in=batches, is_paused=True)
    on_hold = Job.objects.filter(pk__in=requeued, batch__in=paused)
    for pk in list(on_hold.values_list("pk", flat=True)):
        requeued[pk].ready, requeued[pk].run_at = False, None
    on_hold.update(ready=False, run_at=None)


def _lock_open_attempts(jobs: QuerySet[Job]) -> None:
    """Lock the open attempts before their jobs, as the code that ends a call does.

    The reverse order would deadlock.
    """
    attempts = Attempt.objects.filter(job__in=jobs, outcome=Attempt.Outcome.OPEN)
    locked = attempts.order_by("pk").select_for_update(of=("self",))
    list(locked.values_list("pk"))


def _abandon_attempts(jobs: Iterable[Job], *, at: datetime) -> None:
    """Close the open attempts of ended jobs as *unknown*.

    These jobs have no lease that would reveal a dead worker. A living worker
    overwrites the outcome when the call ends.
    """
    Attempt.objects.filter(
        job_id__in=[job.pk for job in jobs if job.started_at],
        outcome=Attempt.Outcome.OPEN,
    ).update(outcome=Attempt.Outcome.UNKNOWN, error_code="let_go", finished_at=at)


def update_returning(jobs: QuerySet[Job], *, changes: dict[str, Any]) -> list[Job]:
    """UPDATE … RETURNING, which Django's ORM lacks.

    https://code.djangoproject.com/ticket/28682
    """
    query: Any = jobs.query.chain(UpdateQuery)
    query.add_update_values(changes)
    sql, params = query.get_compiler(DEFAULT_DB_ALIAS).as_sql()
    columns = prepared_statements.list_columns(Job)
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} RETURNING {columns}", params)
        return prepared_statements.load_all(Job, cursor.fetchall())


def write_events(
    jobs: Sequence[Job], *, at: datetime, data: dict[str, Any], actor: str
) -> None:
    """Write one event per job, and the rows of subscribers about those of final jobs.

    Subscribers are called before the INSERT, so that they can set the events' columns.
    Their rows may refer to events, in any order: PostgreSQL checks foreign keys at
    COMMIT.
    """
    if not jobs:
        return
    events = [_build_event(job, at=at, data=data, actor=actor) for job in jobs]
    final = {job.pk: job for job in jobs if job.is_final}
    rows: list[models.Model] = []
    if final:
        of_final = [event for event in events if event.job_id in final]
        for subscriber in _import_subscribers(tuple(settings.EVENT_SUBSCRIBERS)):
            rows += subscriber(of_final, final, at)
    insertion = prepared_statements.build_insertion(events, lenient=rows)
    prepared_statements.fetch(*insertion)


@cache
def _import_subscribers(names: tuple[str, ...]) -> list[Callable[..., Any]]:
    return [import_string(name) for name in names]


def _build_event(job: Job, *, at: datetime, data: dict[str, Any], actor: str) -> Event:
    return Event(
        tenant_id=job.tenant_id,
        job_id=job.pk,
        type=f"job.{job.status}",
        data=data | _event_data(job),
        actor=actor,
        created_at=at,
        fanned_out_at=None if job.is_final else at,
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


def lease_time() -> timedelta:
    """Return how long a claim is valid without a heartbeat."""
    return timedelta(seconds=settings.LEASE_SECONDS)

"""Start and end the calls of claimed jobs, many at once.

All code that ends calls locks attempts in the order of their ids, then jobs in the
order of theirs, then quota counters: the reverse would deadlock.
"""

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from jobs import services
from jobs.models import Attempt, Job, Region, prepared_statements
from jobs.state import JobStatus
from jobs.telemetry import log_context, metrics, tracing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobClaim:
    """The claim of a job; a newer token makes it stale."""

    job_id: UUID
    lease_token: int
    # The span of the claim, which the call's span continues; "" without tracing.
    traceparent: str = field(default="", compare=False)


_START_CALLS = """
WITH claim AS (
  SELECT job.id FROM jobs_job job
  JOIN unnest(%(jobs)s::uuid[], %(tokens)s::int[]) AS claim (id, token)
    ON job.id = claim.id AND job.lease_token = claim.token
  WHERE job.status = 'processing' AND job.started_at IS NULL
  ORDER BY job.id FOR NO KEY UPDATE OF job
)
UPDATE jobs_job SET started_at = %(now)s, worker = %(worker)s,
  attempt = attempt + 1, lease_until = statement_timestamp() + %(lease)s
FROM claim WHERE jobs_job.id = claim.id RETURNING {columns}
"""


def start_calls(
    claims: Collection[JobClaim], *, worker: str, now: datetime
) -> list[tuple[Job, Attempt]]:
    """Start the only call of each claim, in one commit; stale claims are left out.

    The attempts are committed *open* before the calls cost money. A duplicate message
    for the same claim finds ``started_at`` set and starts nothing.
    """
    with transaction.atomic():
        started = _fetch_jobs(
            _START_CALLS,
            {
                "jobs": [claim.job_id for claim in claims],
                "tokens": [claim.lease_token for claim in claims],
                "now": now,
                "worker": worker,
                "lease": services.lease_time(),
            },
        )
        regions_by_name = Region.objects.in_bulk({job.region_id for job in started})
        attempts = [
            Attempt(
                job=job,
                tenant_id=job.tenant_id,
                model=str(job.options.get("model", ""))[:100],
                trace_id=tracing.trace_id_of(job.traceparent),
                lease_token=job.lease_token,
                region=regions_by_name[job.region_id],
                worker=worker,
                started_at=now,
            )
            for job in started
        ]
        Attempt.objects.bulk_create(attempts)
    return list(zip(started, attempts, strict=True))


def _fetch_jobs(sql: str, parameters: Mapping[str, Any]) -> list[Job]:
    """Execute an UPDATE of jobs and return the new rows."""
    columns = prepared_statements.list_columns(Job)
    rows = prepared_statements.fetch(sql.replace("{columns}", columns), parameters)
    return [prepared_statements.load(Job, row) for row in rows]


def start_call(
    *, job_id: UUID, lease_token: int, worker: str, now: datetime
) -> tuple[Job, Attempt] | None:
    """Start the only call of one claim; return None if the claim is stale."""
    claim = JobClaim(job_id, lease_token)
    return next(iter(start_calls([claim], worker=worker, now=now)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """What an attempt's row stores about its call, and whether it was adopted.

    An adopted call's result was stored by a worker that then died.
    """

    attempt: Attempt
    outcome: Attempt.Outcome
    request_id: str = ""
    status_code: int | None = None
    error_code: str = ""
    audio_seconds: float | None = None
    cost_estimate: Decimal | None = None
    is_adopted: bool = False
    sent_bytes: int | None = None
    sent_type: str = ""


# Locks in the order of ids, as all code that ends calls does. A reconciled attempt is
# closed again only by its own result.
_CLOSE_ATTEMPTS = """
WITH call AS (
  SELECT attempt.id, call.* FROM jobs_attempt attempt
  JOIN unnest(%(attempts)s::uuid[], %(outcomes)s::text[], %(request_ids)s::text[],
              %(statuses)s::int[], %(codes)s::text[], %(seconds)s::double precision[],
              %(costs)s::numeric[], %(adopted)s::bool[],
              %(sent_bytes)s::bigint[], %(sent_types)s::text[])
    AS call (attempt, outcome, request_id, status_code, error_code, audio_seconds,
             cost_estimate, is_adopted, sent_bytes, sent_type)
    ON attempt.id = call.attempt
  WHERE attempt.outcome IN ('open', 'unknown')
     OR call.is_adopted AND attempt.reconciled_at IS NOT NULL
  ORDER BY attempt.id FOR NO KEY UPDATE OF attempt
)
UPDATE jobs_attempt attempt SET finished_at = %(now)s, outcome = call.outcome,
  request_id = call.request_id, status_code = call.status_code,
  error_code = call.error_code, sent_bytes = call.sent_bytes,
  sent_type = call.sent_type,
  audio_seconds = coalesce(call.audio_seconds, attempt.audio_seconds),
  cost_estimate = coalesce(call.cost_estimate, attempt.cost_estimate)
FROM call WHERE attempt.id = call.id RETURNING attempt.id
"""


def close_attempts(calls: Sequence[CallFacts], *, now: datetime) -> set[UUID]:
    """Close attempts, independent of their jobs' state; return the ids of those closed.

    *Unknown* is overwritten: the worker that made the call knows its outcome.
    """
    columns = {
        "attempts": [each.attempt.pk for each in calls],
        "outcomes": [str(each.outcome) for each in calls],
        "request_ids": [each.request_id for each in calls],
        "statuses": [each.status_code for each in calls],
        "codes": [each.error_code for each in calls],
        "seconds": [each.audio_seconds for each in calls],
        "costs": [each.cost_estimate for each in calls],
        "adopted": [each.is_adopted for each in calls],
        "sent_bytes": [each.sent_bytes for each in calls],
        "sent_types": [each.sent_type for each in calls],
    }
    with transaction.atomic(savepoint=False):
        rows = prepared_statements.fetch(_CLOSE_ATTEMPTS, {**columns, "now": now})
        closed = {pk for (pk,) in rows}
        for call in calls:
            if call.attempt.pk in closed:
                transaction.on_commit(partial(_count, call, now=now))
    return closed


def _count(call: CallFacts, *, now: datetime) -> None:
    metrics.count_call(
        call.attempt,
        outcome=call.outcome,
        status_code=call.status_code,
        audio_seconds=call.audio_seconds or 0.0,
        cost=call.cost_estimate or Decimal(0),
        now=now,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """What the end of a call makes of its job: completed, failed, or queued again.

    ``warnings`` are added to the job's. None leaves a column as it is. ``cause`` is the
    error code of a retry.
    """

    claim: JobClaim
    status: JobStatus
    warnings: list[Any] | None = None
    duration_seconds: float | None = None
    error_code: str = ""
    error_detail: str = ""
    run_at: datetime | None = None
    attempt: int | None = None
    cause: str = ""


_END_CALLS = """
WITH ending AS (
  SELECT ending.* FROM jobs_job job
  JOIN unnest(%(jobs)s::uuid[], %(tokens)s::int[], %(statuses)s::text[],
              %(warnings)s::jsonb[], %(durations)s::double precision[],
              %(codes)s::text[], %(details)s::text[], %(run_at)s::timestamptz[],
              %(attempts)s::int[])
    AS ending (job, token, status, warnings, duration, code, detail, run_at, attempt)
    ON job.id = ending.job AND job.lease_token = ending.token
  WHERE job.status = 'processing'
     -- A paid result after the lease expired and before a new claim.
     OR job.status = 'queued' AND ending.status <> 'queued'
  ORDER BY job.id FOR NO KEY UPDATE OF job
)
UPDATE jobs_job SET status = ending.status, ready = false, lease_until = NULL,
  run_at = ending.run_at,
  attempt = coalesce(ending.attempt, jobs_job.attempt),
  warnings = coalesce(jobs_job.warnings || ending.warnings, jobs_job.warnings),
  duration_seconds = coalesce(ending.duration, jobs_job.duration_seconds),
  error_code = ending.code, error_detail = ending.detail,
  finished_at = CASE WHEN ending.status = 'queued' THEN NULL ELSE %(at)s END,
  started_at =
    CASE WHEN ending.status = 'queued' THEN NULL ELSE jobs_job.started_at END,
  worker = CASE WHEN ending.status = 'queued' THEN '' ELSE jobs_job.worker END,
  region_id = CASE WHEN ending.status = 'queued' THEN NULL ELSE jobs_job.region_id END
FROM ending WHERE jobs_job.id = ending.job RETURNING {columns}
"""


def end_calls(ends: Sequence[CallEnd], *, at: datetime) -> list[Job]:
    """Move claimed jobs to the status that their call's end gave; return those moved.

    ``advance`` for many jobs with different columns. Jobs whose claim is stale are not
    moved. Locks jobs in the order of their ids, after the attempts (``close_attempts``)
    and before the quota counters.
    """
    causes = {end.claim.job_id: end.cause for end in ends}
    with transaction.atomic(savepoint=False):
        moved = _fetch_jobs(
            _END_CALLS,
            {
                "at": at,
                "jobs": [end.claim.job_id for end in ends],
                "tokens": [end.claim.lease_token for end in ends],
                "statuses": [str(end.status) for end in ends],
                "warnings": [
                    None if end.warnings is None else json.dumps(end.warnings)
                    for end in ends
                ],
                "durations": [end.duration_seconds for end in ends],
                "codes": [end.error_code for end in ends],
                "details": [end.error_detail for end in ends],
                "run_at": [end.run_at for end in ends],
                "attempts": [end.attempt for end in ends],
            },
        )
        ended = [job for job in moved if job.is_final]
        services.record_ends(ended, at=at)
        services.write_events(ended, at=at, data={}, actor="")
        for job in moved:
            if not job.is_final:
                data = {"reason": "retry", "cause": causes[job.pk]}
                services.write_events([job], at=at, data=data, actor="")
    for job in moved:
        logger.info("job %s", job.status, extra=log_context.fields_of(job))
    return moved


_RENEW_LEASES = """
WITH running AS (
  SELECT id FROM jobs_job
  WHERE id = ANY(%(jobs)s::uuid[]) AND worker = %(worker)s AND status = 'processing'
  ORDER BY id FOR NO KEY UPDATE
)
UPDATE jobs_job SET lease_until = statement_timestamp() + %(lease)s
FROM running WHERE jobs_job.id = running.id RETURNING jobs_job.id
"""


def renew_leases(job_ids: Iterable[UUID], *, worker: str) -> set[UUID]:
    """Extend the leases of jobs that this worker runs; return the ids of those jobs.

    Uses the database's clock, as every comparison with ``lease_until`` does.
    """
    rows = prepared_statements.fetch(
        _RENEW_LEASES,
        {"jobs": list(job_ids), "worker": worker, "lease": services.lease_time()},
    )
    return {pk for (pk,) in rows}

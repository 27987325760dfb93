"""Claim jobs, and start and end their calls, many at once.

All code that ends calls locks attempts in the order of their ids, then jobs in the
order of theirs, then quota counters: the reverse would deadlock.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any
from uuid import UUID

from django.db import transaction

from jobs import services
from jobs.models import Attempt, Job, Region, prepared_statements
from jobs.models.prepared_statements import Row, Statement, encode_rows
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


_CLAIM_JOBS = """
UPDATE jobs_job SET status = 'processing', region_id = %(region)s,
  lease_token = lease_token + 1, lease_until = %(lease_until)s, run_at = NULL,
  worker = claim.worker
FROM unnest(%(jobs)s::uuid[], %(workers)s::text[]) AS claim (id, worker)
WHERE jobs_job.id = claim.id AND status = 'queued' RETURNING {columns}
"""


def claim_jobs(workers: Mapping[UUID, str], *, region: str, now: datetime) -> list[Job]:
    """Claim locked jobs, each for its worker ("": any of the region's queue).

    ``advance`` to *processing* for many jobs with different workers, prepared.
    """
    with transaction.atomic(savepoint=False):
        claimed = _fetch_jobs(
            _CLAIM_JOBS,
            {
                "region": region,
                "lease_until": now + services.lease_time(),
                "jobs": list(workers),
                "workers": list(workers.values()),
            },
        )
        services.write_events(claimed, at=now, data={}, actor="")
    for job in claimed:
        logger.info("job %s", job.status, extra=log_context.fields_of(job))
    return claimed


_START_CALLS = """
WITH claim AS (
  SELECT job.id FROM jobs_job job
  JOIN json_to_recordset(%(claims)s::json) AS claim (id uuid, token int)
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
                "claims": encode_rows(
                    [
                        {"id": claim.job_id, "token": claim.lease_token}
                        for claim in claims
                    ]
                ),
                "now": now,
                "worker": worker,
                "lease": services.lease_time(),
            },
        )
        attempts = [
            Attempt(
                job=job,
                tenant_id=job.tenant_id,
                model=str(job.options.get("model", ""))[:100],
                trace_id=tracing.trace_id_of(job.traceparent),
                lease_token=job.lease_token,
                region_id=job.region_id or "",
                worker=worker,
                started_at=now,
            )
            for job in started
        ]
        _open_attempts(attempts)
    return list(zip(started, attempts, strict=True))


def _open_attempts(attempts: Sequence[Attempt]) -> None:
    """Insert attempts, and read their regions in the same round trip."""
    if not attempts:
        return
    names = list({attempt.region_id for attempt in attempts})
    select = prepared_statements.select(Region, "name = ANY($1)")
    _, rows = prepared_statements.fetch_many(
        [prepared_statements.build_insertion(attempts), (select, [names])]
    )
    found = prepared_statements.load_all(Region, rows)
    regions = {region.name: region for region in found}
    for attempt in attempts:
        attempt.region = regions[attempt.region_id]


def _fetch_jobs(sql: str, parameters: Mapping[str, Any]) -> list[Job]:
    """Execute an UPDATE of jobs and return the new rows."""
    rows = prepared_statements.fetch(_return_jobs(sql), parameters)
    return prepared_statements.load_all(Job, rows)


@cache
def _return_jobs(sql: str) -> str:
    return sql.replace("{columns}", prepared_statements.list_columns(Job))


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
  JOIN json_to_recordset(%(calls)s::json) AS call (
    attempt uuid, outcome text, request_id text, status_code int, error_code text,
    audio_seconds float, cost_estimate numeric, is_adopted bool, sent_bytes bigint,
    sent_type text
  ) ON attempt.id = call.attempt
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
    with transaction.atomic(savepoint=False):
        rows = prepared_statements.fetch(*_build_closing(calls, now=now))
        return _count_closed(calls, rows, now=now)


def _build_closing(calls: Sequence[CallFacts], *, now: datetime) -> Statement:
    rows = [
        {
            "attempt": each.attempt.pk,
            "outcome": each.outcome,
            "request_id": each.request_id,
            "status_code": each.status_code,
            "error_code": each.error_code,
            "audio_seconds": each.audio_seconds,
            "cost_estimate": each.cost_estimate,
            "is_adopted": each.is_adopted,
            "sent_bytes": each.sent_bytes,
            "sent_type": each.sent_type,
        }
        for each in calls
    ]
    return _CLOSE_ATTEMPTS, {"now": now, "calls": encode_rows(rows)}


def _count_closed(
    calls: Sequence[CallFacts], rows: Sequence[Row], *, now: datetime
) -> set[UUID]:
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
  -- Those of stale claims are locked too: counting their audio (``quotas.count_late``)
  -- needs them before the counters.
  SELECT ending.*, job.lease_token = ending.token AND (
    job.status = 'processing'
    -- A paid result after the lease expired and before a new claim.
    OR job.status = 'queued' AND ending.status <> 'queued'
  ) AS is_current FROM jobs_job job
  JOIN json_to_recordset(%(ends)s::json) AS ending (
    job uuid, token int, status text, warnings jsonb, duration float, code text,
    detail text, run_at timestamptz, attempt int
  ) ON job.id = ending.job
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
FROM ending WHERE jobs_job.id = ending.job AND is_current RETURNING {columns}
"""


def end_calls(ends: Sequence[CallEnd], *, at: datetime) -> list[Job]:
    """Move claimed jobs to the status that their call's end gave; return those moved.

    ``advance`` for many jobs with different columns. Jobs whose claim is stale are not
    moved. Locks jobs in the order of their ids, after the attempts (``close_attempts``)
    and before the quota counters.
    """
    with transaction.atomic(savepoint=False):
        rows = prepared_statements.fetch(*_build_ending(ends, at=at))
        return _record_moved(ends, rows, at=at)


def finish_calls(
    calls: Sequence[CallFacts], ends: Sequence[CallEnd], *, now: datetime
) -> tuple[set[UUID], list[Job]]:
    """Run ``close_attempts`` and ``end_calls`` in one round trip."""
    with transaction.atomic(savepoint=False):
        closed, moved = prepared_statements.fetch_many(
            [_build_closing(calls, now=now), _build_ending(ends, at=now)]
        )
        return _count_closed(calls, closed, now=now), _record_moved(ends, moved, at=now)


def _build_ending(ends: Sequence[CallEnd], *, at: datetime) -> Statement:
    rows = [
        {
            "job": end.claim.job_id,
            "token": end.claim.lease_token,
            "status": end.status,
            "warnings": end.warnings,
            "duration": end.duration_seconds,
            "code": end.error_code,
            "detail": end.error_detail,
            "run_at": end.run_at,
            "attempt": end.attempt,
        }
        for end in ends
    ]
    return _return_jobs(_END_CALLS), {"at": at, "ends": encode_rows(rows)}


def _record_moved(
    ends: Sequence[CallEnd], rows: Sequence[Row], *, at: datetime
) -> list[Job]:
    """Settle and log the jobs that ended or were queued again; write their events."""
    moved = prepared_statements.load_all(Job, rows)
    causes = {end.claim.job_id: end.cause for end in ends}
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

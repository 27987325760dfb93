"""Commit the outcomes of calls: many in one transaction, with set-based statements.

A paid document is stored before (``transcripts.storage``), so that a worker that dies
here costs nothing: whoever claims the job next adopts the document.
"""

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.db import transaction

from jobs import backoff
from jobs.calls import CallEnd, CallFacts, JobClaim, end_calls, finish_calls
from jobs.concurrency.group_commit import GroupCommitter
from jobs.errors import UpstreamError
from jobs.models import Attempt, Job, prepared_statements
from jobs.quotas import quotas
from jobs.routing import regions
from jobs.scheduling import dispatch
from jobs.state import JobStatus
from jobs.telemetry import log_context
from transcripts import documents, prices
from transcripts.models import Transcript
from transcripts.search import indexing

logger = logging.getLogger(__name__)

SUSPECT = "suspect_result"
_SUMMARY_FIELDS = tuple(documents.Summary.__dataclass_fields__)


class ClaimHolder(Protocol):
    """The process that runs calls and extends their leases and permits meanwhile."""

    name: str

    def holding(self, jobs: Sequence[Job]) -> AbstractContextManager[None]:
        """Extend the leases and permits of claims whose calls have not started."""

    def add(self, jobs: Sequence[Job]) -> None:
        """Extend the leases and permits of claims from now on."""

    def remove(self, jobs: Sequence[Job]) -> None:
        """Stop extending them and release the permits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResult:
    """A document in storage, by its name, and what the rows need of it."""

    raw: str
    summary: documents.Summary
    request_id: str
    sent_bytes: int | None = None
    sent_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCall:
    """The outcome of a call: a stored result or an error.

    ``job`` has the claim that ends, ``attempt`` the call: an earlier claim's, if its
    result is adopted.
    """

    job: Job
    attempt: Attempt
    holder: ClaimHolder
    result: StoredResult | None = None
    error: UpstreamError | None = None
    is_adopted: bool = False

    @property
    def claim(self) -> JobClaim:
        """The claim that the call ends."""
        return JobClaim(self.job.pk, self.job.lease_token)


def commit(calls: Sequence[FinishedCall], now: datetime) -> None:
    """Commit the outcomes of calls in one transaction.

    1. A suspect result becomes an error once; a second one is accepted with warnings.
    2. Close the attempts with their cost.
    3. Complete, fail or requeue the jobs. A stale claim closes its attempt, which was
       paid for, and changes nothing else. An expired lease makes a claim stale only
       once the job is claimed again.
    4. Write transcripts and search entries of the completed jobs.
    5. Count the audio of calls whose job had ended before them.
    """
    warnings = {call.attempt.pk: _find_warnings(call) for call in calls}
    calls = _reject_suspects(calls, warnings)
    same_errors = _count_same_errors(calls)
    ends = [
        _end_by_error(call, same_errors[call.job.pk], now=now)
        if call.error
        else _end_by_result(call, warnings[call.attempt.pk])
        for call in calls
    ]
    with dispatch.wake_later(), transaction.atomic():
        for call in calls:
            if call.error and call.error.failure == backoff.Failure.ACCOUNT:
                region = call.attempt.region_id
                regions.pause_region(name=region, reason=call.error.code, now=now)
        closed, ended = finish_calls([_facts_of(call) for call in calls], ends, now=now)
        # By claim: the group may contain a late result of an earlier claim of a job.
        moved = {JobClaim(job.pk, job.lease_token): job for job in ended}
        write_transcripts(
            [
                (moved[call.claim], call.result)
                for call in calls
                if call.result and not call.error and call.claim in moved
            ],
            now=now,
        )
        counted = {job.pk for job in ended}  # with all their attempts
        for call in sorted(calls, key=lambda each: each.job.pk):
            if call.attempt.pk in closed and call.job.pk not in counted and call.result:
                quotas.count_late(call.attempt)
                fields = log_context.fields_of(call.job)
                logger.info("result of a stale claim dropped", extra=fields)


def write_transcripts(
    completed: Sequence[tuple[Job, StoredResult]], *, now: datetime
) -> None:
    """Write the transcripts of jobs, and their search entries."""
    rows = [
        Transcript(
            job=job,
            raw=result.raw,
            request_id=result.request_id,
            created_at=now,
            is_indexed=True,
            **{name: getattr(result.summary, name) for name in _SUMMARY_FIELDS},
        )
        for job, result in completed
    ]
    entries = [
        indexing.build_entry(transcript, job)
        for transcript, (job, _) in zip(rows, completed, strict=True)
    ]
    if rows:
        insertion = prepared_statements.build_insertion(rows)
        prepared_statements.fetch_many([insertion, *entries])


def complete(
    job: Job, result: StoredResult, *, warnings: list[Any], now: datetime
) -> bool:
    """Complete one job and write its transcript; False for a stale claim.

    Call it in the transaction that closes the attempt.
    """
    claim = JobClaim(job.pk, job.lease_token)
    moved = end_calls([_completion_of(claim, result, warnings)], at=now)
    write_transcripts([(each, result) for each in moved], now=now)
    return bool(moved)


def build_suspect_error(message: str, *, request_id: str) -> UpstreamError:
    """Return the error of a result that another call may correct."""
    return UpstreamError(
        message,
        code=SUSPECT,
        failure=backoff.Failure.SUSPECT_RESULT,
        status=200,
        request_id=request_id,
    )


def _find_warnings(call: FinishedCall) -> list[dict[str, str]]:
    if call.result is None:
        return []
    job = call.job
    return documents.find_warnings(
        call.result.summary,
        expected_seconds=job.exact_duration_seconds,
        expected_channels=job.channels if job.options.get("multichannel") else None,
        is_silent=job.is_silent,
    )


def _reject_suspects(
    calls: Sequence[FinishedCall], warnings: Mapping[UUID, list[dict[str, str]]]
) -> list[FinishedCall]:
    """Turn suspect results into errors, unless the job had one before."""
    found = {
        call.attempt.pk: each["detail"]
        for call in calls
        if call.job.attempt < call.job.max_attempts
        for each in reversed(warnings[call.attempt.pk])
        if each["code"] in documents.SUSPECT
    }
    if found:
        jobs = [call.job.pk for call in calls if call.attempt.pk in found]
        earlier = Attempt.objects.filter(job__in=jobs, error_code=SUSPECT)
        repeated = set(earlier.values_list("job", flat=True))
        for call in calls:
            if call.job.pk in repeated:
                found.pop(call.attempt.pk, None)
    return [
        replace(
            call,
            error=build_suspect_error(
                found[call.attempt.pk], request_id=call.result.request_id
            ),
        )
        if call.result and call.attempt.pk in found
        else call
        for call in calls
    ]


def _count_same_errors(calls: Sequence[FinishedCall]) -> Counter[UUID]:
    """Return how many earlier calls of each failed job ended with the same error."""
    codes = {call.job.pk: call.error.code for call in calls if call.error}
    counts: Counter[UUID] = Counter()
    if codes:
        earlier = Attempt.objects.filter(
            job__in=codes, error_code__in=set(codes.values())
        ).exclude(pk__in=[call.attempt.pk for call in calls])
        for job_id, code in earlier.values_list("job", "error_code"):
            counts[job_id] += codes[job_id] == code
    return counts


def _facts_of(call: FinishedCall) -> CallFacts:
    """Return what the attempt stores; a suspect result is billed, too."""
    error, result = call.error, call.result
    billed = build_cost(call.job, result.summary) if result else {}
    if error:
        return CallFacts(
            attempt=call.attempt,
            outcome=Attempt.Outcome.ERROR,
            request_id=error.request_id,
            status_code=error.status,
            error_code=error.code,
            is_adopted=call.is_adopted,
            **billed,
        )
    return CallFacts(
        attempt=call.attempt,
        outcome=Attempt.Outcome.OK,
        request_id=result.request_id if result else "",
        status_code=200,
        is_adopted=call.is_adopted,
        sent_bytes=result.sent_bytes if result else None,
        sent_type=result.sent_type if result else "",
        **billed,
    )


def build_cost(job: Job, summary: documents.Summary) -> dict[str, Any]:
    """Return the attempt fields that the upstream bills."""
    return {
        "audio_seconds": summary.duration_seconds,
        "cost_estimate": prices.estimate_cost(
            model=str(job.options.get("model", "")),
            audio_seconds=summary.duration_seconds,
            channels=summary.channels,
            per_minute=settings.PRICES_PER_MINUTE,
        ),
    }


def _end_by_result(call: FinishedCall, warnings: list[Any]) -> CallEnd:
    if call.result is None:
        raise ValueError("a call without an error has a result")
    return _completion_of(call.claim, call.result, warnings)


def _completion_of(
    claim: JobClaim, result: StoredResult, warnings: list[Any]
) -> CallEnd:
    return CallEnd(
        claim=claim,
        status=JobStatus.COMPLETED,
        warnings=warnings,
        # A job has its transcript's duration, unless that omits a part of the audio.
        duration_seconds=(
            None if _differs(warnings) else result.summary.duration_seconds
        ),
    )


def _differs(warnings: Sequence[Mapping[str, str]]) -> bool:
    return any(each["code"] == documents.DURATION_MISMATCH for each in warnings)


def _end_by_error(call: FinishedCall, same_errors: int, *, now: datetime) -> CallEnd:
    """Fail the job, or queue it for its retry."""
    job, error = call.job, call.error
    if error is None:
        raise ValueError("the call has no error")
    decision = backoff.next_try(
        error,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        same_errors=same_errors,
        curve=backoff.Curve(
            base_seconds=settings.BACKOFF_BASE_SECONDS,
            cap_seconds=settings.BACKOFF_CAP_SECONDS,
        ),
        uniform=random.uniform,
    )
    if decision.retry_in is None:
        return CallEnd(
            claim=call.claim,
            status=JobStatus.FAILED,
            error_code=error.code,
            error_detail=error.message,
        )
    return CallEnd(
        claim=call.claim,
        status=JobStatus.QUEUED,
        cause=error.code,
        run_at=now + timedelta(seconds=decision.retry_in),
        attempt=job.attempt if decision.counts else job.attempt - 1,
    )


def _settle(calls: Sequence[FinishedCall]) -> None:
    """Release the permits of calls, one message to Redis per holder and region."""
    holders: dict[int, list[FinishedCall]] = defaultdict(list)
    for call in calls:
        holders[id(call.holder)].append(call)
    for ended in holders.values():
        ended[0].holder.remove([call.job for call in ended])
    dispatch.wake()


# All calls of this process end here.
committer: GroupCommitter[FinishedCall] = GroupCommitter(
    commit, grace=lambda: settings.FINISH_GRACE_SECONDS, settled=_settle
)

"""Adopt results that were paid for and stored by a call whose worker then died."""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from jobs import services
from jobs.calls import JobClaim
from jobs.models import Attempt, Job
from jobs.state import JobStatus
from transcripts import documents, storage
from transcripts.outcomes import result_storage
from transcripts.outcomes.finishing import (
    ClaimHolder,
    FinishedCall,
    StoredResult,
    committer,
)

logger = logging.getLogger(__name__)


def adopt(
    claims: Sequence[JobClaim],
    *,
    holder: ClaimHolder,
    threads: Executor | None = None,
) -> dict[JobClaim, str]:
    """End claims that need no call; return the outcome of each.

    A job whose earlier call stored its document completes with that: the call is
    neither repeated nor counted again. A job that crashed
    MAX_CRASHES workers and has no document fails.
    """
    again = {claim.job_id: claim for claim in claims if claim.lease_token > 1}
    if not again:
        return {}
    jobs = [
        job
        for job in Job.objects.filter(
            pk__in=again, status=JobStatus.PROCESSING, started_at=None
        )
        if job.lease_token == again[job.pk].lease_token
    ]
    earlier = _find_earlier_calls(jobs)
    if not connection.in_atomic_block:
        connection.close()  # the storage may be slow
    outcomes = {}
    # Otherwise a slow look-up would be taken for a lost message, and repeated.
    with holder.holding(jobs):
        results = list(_find_results(jobs, earlier, threads=threads))
    for job, found in results:
        if isinstance(found, OSError):
            result_storage.report_unavailable()
            outcomes[again[job.pk]] = _return_claim(job, holder=holder)
        elif found:
            attempt, result = found
            attempt.job = job
            finished = FinishedCall(
                job=job,
                attempt=attempt,
                holder=holder,
                result=result,
                is_adopted=True,
            )
            committer.submit(finished)
            logger.info("stored result adopted", extra={"job_id": job.pk})
            outcomes[again[job.pk]] = f"adopted {result.request_id}"
        elif job.crashes >= settings.MAX_CRASHES:
            outcomes[again[job.pk]] = _fail(job, holder=holder)
    return outcomes


def _find_results(
    jobs: Sequence[Job],
    earlier: Mapping[UUID, Sequence[Attempt]],
    *,
    threads: Executor | None,
) -> Iterator[tuple[Job, "tuple[Attempt, StoredResult] | OSError | None"]]:
    """Yield each job with its stored result, or the error of its look-up.

    All look-ups run at the same time: those of a message with many claims would take
    longer than its claims are waited for, and would all be repeated.
    """

    def find(job: Job) -> "tuple[Attempt, StoredResult] | OSError | None":
        try:
            return _find_result(earlier.get(job.pk, ()))
        except OSError as error:
            return error

    return zip(jobs, (threads.map if threads else map)(find, jobs), strict=True)


def _find_earlier_calls(jobs: Sequence[Job]) -> dict[UUID, list[Attempt]]:
    """Return the calls by job that may have stored a result, the latest first.

    A successful one too: its worker came back after the job was claimed again, or
    reconciliation found the call in the upstream's log.
    """
    attempts = Attempt.objects.filter(
        Q(outcome__in=[Attempt.Outcome.UNKNOWN, Attempt.Outcome.OK])
        | Q(reconciled_at__isnull=False),
        job__in=jobs,
    ).order_by("-started_at")
    found: dict[UUID, list[Attempt]] = defaultdict(list)
    for attempt in attempts.select_related("region"):
        found[attempt.job_id].append(attempt)
    return found


def _find_result(attempts: Iterable[Attempt]) -> tuple[Attempt, StoredResult] | None:
    """Return the first attempt whose stored document is valid. Raises OSError."""
    for attempt in attempts:
        raw = storage.find_result(attempt)
        if raw is None:
            continue
        try:
            document = json.loads(raw)
            summary = documents.parse_summary(document)
        except (ValueError, RecursionError, AttributeError):
            continue
        if summary is not None:
            request_id = str(document["metadata"].get("request_id", ""))
            name = storage.name_of_result(attempt)
            return attempt, StoredResult(
                raw=name, summary=summary, request_id=request_id
            )
    return None


def _return_claim(job: Job, *, holder: ClaimHolder) -> str:
    """Queue a job whose documents cannot be looked up now; no attempt is counted."""
    now = timezone.now()
    services.advance(
        Job.objects.filter(pk=job.pk, lease_token=job.lease_token),
        to=JobStatus.QUEUED,
        at=now,
        data={"reason": result_storage.UNAVAILABLE},
        ready=False,
        run_at=now + timedelta(seconds=result_storage.RETRY_SECONDS),
    )
    holder.remove([job])
    return result_storage.UNAVAILABLE


def _fail(job: Job, *, holder: ClaimHolder) -> str:
    services.advance(
        Job.objects.filter(pk=job.pk, lease_token=job.lease_token),
        to=JobStatus.FAILED,
        at=timezone.now(),
        error_code="worker_crashed",
        error_detail="Every worker that ran this job crashed while running it.",
    )
    holder.remove([job])
    return "worker_crashed"

"""Live sessions as jobs: open, store finals, reconnect, finish.

Final results are stored before the customer receives them. The end of the session
builds one document from them, stored like any other transcript. No sockets here.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from jobs.calls import CallFacts, close_attempts
from jobs.concurrency.group_commit import UNAVAILABLE, retry_while_unavailable
from jobs.errors import UpstreamError
from jobs.models import ApiKey, Attempt, Job, Mode, Tenant
from jobs.scheduling import live_claims
from jobs.scheduling.claims import Permits
from jobs.services import JobDraft
from jobs.state import JobStatus
from jobs.telemetry import metrics
from transcripts.live.closing import EndOfSession, SessionEnd, build_cost
from transcripts.live.documents import Segment
from transcripts.models import LiveFinal

logger = logging.getLogger(__name__)

# Only the end of a session waits for this lock, its heartbeat does not. After the end
# the join finds no row, so no final is stored that nothing would delete.
_STORE = """
INSERT INTO transcripts_livefinal
  (job_id, seq, channel, start, "end", speech_final, alternative)
SELECT said.job, said.seq, said.channel, said.start, said."end",
  said.speech_final, said.alternative
FROM jsonb_to_recordset(%s) AS said (
  job uuid, seq int, channel int, start float8, "end" float8,
  speech_final boolean, alternative text)
JOIN jobs_job job ON job.id = said.job AND job.status = 'processing'
FOR KEY SHARE OF job
ON CONFLICT (job_id, seq) DO UPDATE SET seq = excluded.seq
RETURNING job_id, seq
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalResult(Segment):
    """A final result to store: the ``seq``-th of its session."""

    job_id: UUID
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailure:
    """A failed call and its audio in seconds; ``elsewhere`` prefers another region."""

    error: UpstreamError
    seconds: float
    channels: int = 1
    elsewhere: bool = False


def create_session_job(
    *,
    tenant: Tenant,
    api_key: ApiKey | None,
    draft: JobDraft,
    worker: str,
    permits: Permits,
    now: datetime,
) -> tuple[Job, Attempt]:
    """Write the session's job, already processing, and open its first attempt.

    Raises LimitExceeded, ServiceUnavailable (no capacity) or InvalidRequest; nothing is
    written then.
    """
    return live_claims.start_live_job(
        tenant=tenant,
        api_key=api_key,
        draft=replace(draft, mode=Mode.LIVE),
        permits=permits,
        worker=worker,
        now=now,
    )


def build_store(finals: Sequence[FinalResult]) -> tuple[LiteralString, list[str]]:
    """Return a statement and its values that store finals of many sessions.

    It returns job and ``seq`` of each stored final; missing ones belong to sessions
    that have ended. Idempotent.
    """
    # ON CONFLICT accepts no duplicates in one statement; the first counts.
    distinct = {(each.job_id, each.seq): each for each in reversed(finals)}
    rows = [
        {
            "job": str(each.job_id),
            "seq": each.seq,
            "channel": each.channel,
            "start": float(each.start),
            "end": float(each.end),
            "speech_final": each.speech_final,
            "alternative": json.dumps(each.alternative),
        }
        for each in (distinct[key] for key in sorted(distinct))
    ]
    # One JSON text: quoting arrays of text takes longer than storing them.
    return _STORE, [json.dumps(rows)]


def next_attempt(
    *,
    job: Job,
    attempt: Attempt,
    broken: CallFailure,
    permits: Permits,
    worker: str,
    now: datetime,
) -> tuple[Job, Attempt] | None:
    """Close the failed attempt and open the next one.

    Returns None without capacity; calling it again then closes nothing. Raises
    StaleJobState if the session has ended.
    """
    facts = CallFacts(
        attempt=attempt,
        outcome=Attempt.Outcome.ERROR,
        request_id=broken.error.request_id,
        status_code=broken.error.status,
        error_code=broken.error.code,
        **build_cost(job, seconds=broken.seconds, channels=broken.channels),
    )
    close_attempts([facts], now=now)
    return live_claims.start_next_call(
        job,
        prefer_other_region=broken.elsewhere,
        permits=permits,
        worker=worker,
        now=now,
    )


def finish_session(*, job: Job, attempt: Attempt, ending: EndOfSession) -> Job:
    """Commit the end of the session with its transcript; return the current job.

    If the session has already ended, for example by a cancel, only its last attempt is
    closed. Retries for ``FINISH_GRACE_SECONDS`` while database or storage fail.
    """
    end = SessionEnd(job=job, attempt=attempt, ending=ending)
    retry_while_unavailable(
        end.commit,
        give_up_at=time.monotonic() + settings.FINISH_GRACE_SECONDS,
        errors=(*UNAVAILABLE, OSError),
    )
    return Job.objects.get(pk=job.pk)


def close_abandoned(*, limit: int = 200) -> int:
    """End sessions whose process died, with their stored finals; return how many.

    Safe to run concurrently, and while the process is alive after all: the first end
    wins.
    """
    lost = Job.objects.filter(
        status=JobStatus.PROCESSING, mode=Mode.LIVE, lease_until__lt=Now()
    )
    closed = 0
    for job in lost.order_by("lease_until")[:limit]:
        attempt = Attempt.objects.get(job=job, lease_token=job.lease_token)
        end = SessionEnd(job=job, attempt=attempt, ending=None)
        closed += end.commit(timezone.now())
    if closed:
        metrics.LOST.inc(closed)
        logger.warning("live sessions lost", extra={"count": closed})
    return closed


def purge_finals() -> int:
    """Delete finals of sessions that have ended; return how many."""
    stale = LiveFinal.objects.exclude(job__status=JobStatus.PROCESSING)
    return stale.delete()[0]

"""Live sessions as jobs: open, keep what was said, call again, end.

What a session was told as final is stored before; its end makes one document of it,
which is stored as any other transcript is. No sockets here, and no clock of audio.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from django.db.models.functions import Now
from django.utils import timezone

from jobs import services
from jobs.errors import UpstreamError
from jobs.models import ApiKey, Attempt, Job, Mode, Tenant
from jobs.scheduling import live_claims
from jobs.scheduling.claims import Permits
from jobs.services import JobDraft
from jobs.state import JobStatus
from jobs.telemetry import metrics
from transcripts import storage
from transcripts.live.closing import EndOfSession, SessionEnd, spent_on
from transcripts.live.documents import Segment
from transcripts.models import LiveFinal

__all__ = ["EndOfSession"]  # callers say live.Ending

logger = logging.getLogger(__name__)

# The lock is one that only the end of a session waits for, and not its heartbeat. Who
# comes after that end finds no row, and stores nothing that nobody would delete.
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
    """How a call broke, and what it had heard; ``elsewhere`` prefers another region."""

    error: UpstreamError
    seconds: float
    channels: int = 1
    elsewhere: bool = False


def open_session(
    *,
    tenant: Tenant,
    api_key: ApiKey | None,
    draft: JobDraft,
    worker: str,
    permits: Permits,
    now: datetime,
) -> tuple[Job, Attempt]:
    """Write the session's job, which runs at once, and begin its first call.

    Raises LimitExceeded or ServiceUnavailable when there is no place for it, and
    InvalidRequest, with nothing written.
    """
    return live_claims.begin_stream(
        tenant=tenant,
        api_key=api_key,
        draft=replace(draft, mode=Mode.LIVE),
        permits=permits,
        worker=worker,
        now=now,
    )


def build_store(finals: Sequence[FinalResult]) -> tuple[LiteralString, list[str]]:
    """Return the statement, with its values, that stores finals of many sessions.

    Its rows are job and number of what is stored then; what is missing belongs to a
    session that has ended. Twice is harmless.
    """
    # Two of one name cannot be in one statement; the first counts.
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
        for each in (distinct[name] for name in sorted(distinct))
    ]
    # One text: as arrays, quoting what was said takes longer than storing it.
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
    """Close a call that broke, and begin the next.

    None when there is no place for it now; then the next time closes nothing. Raises
    StaleJobState when the session has ended.
    """
    services.close_attempt(
        attempt,
        outcome=Attempt.Outcome.ERROR,
        now=now,
        request_id=broken.error.request_id,
        status_code=broken.error.status,
        error_code=broken.error.code,
        **spent_on(job, seconds=broken.seconds, channels=broken.channels),
    )
    return live_claims.begin_next_call(
        job, elsewhere=broken.elsewhere, permits=permits, worker=worker, now=now
    )


def finish_session(*, job: Job, attempt: Attempt, ending: EndOfSession) -> Job:
    """Commit the session's end with what was said in it; return the job as it is then.

    A session that somebody else ended (a cancel, above all) only has its last call
    closed. Tried again until it holds, as every paid result is.
    """
    end = SessionEnd(job=job, attempt=attempt, ending=ending)
    storage.commit_with_retries(end.commit)
    return Job.objects.get(pk=job.pk)


def close_abandoned(*, limit: int = 200) -> int:
    """End sessions whose process is lost with what is stored of them; return how many.

    Harmless when others do so too, or when the process turns out to live: who ends a
    session first has ended it.
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
        logger.warning("live sessions were lost", extra={"count": closed})
    return closed


def forget_finals() -> int:
    """Delete finals that sessions which ended otherwise left; return how many."""
    over = LiveFinal.objects.exclude(job__status=JobStatus.PROCESSING)
    return over.delete()[0]

"""The end of a live session: one document of all that was said, and one commit.

Whoever comes first ends it: the process that held it, or whoever found that lost.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from jobs import services
from jobs.errors import UpstreamError
from jobs.models import Attempt, Job
from jobs.quotas import quotas
from jobs.state import JobStatus
from transcripts import documents, prices
from transcripts.live import documents as live_documents
from transcripts.live.documents import Segment
from transcripts.models import LiveFinal
from transcripts.services import complete, drop_unused
from transcripts.storage import store_raw

INTERRUPTED = {
    "code": "session_interrupted",
    "detail": "The session broke off: the transcript is what had been said until then.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfSession:
    """How a session ended.

    ``audio_seconds`` is all of it, ``seconds`` what its last call heard. Without an
    ``error`` it ended as it should.
    """

    audio_seconds: float
    seconds: float
    channels: int = 1
    request_id: str = ""
    model_info: Mapping[str, Any] = field(default_factory=dict)
    error: UpstreamError | None = None
    warnings: tuple[Mapping[str, str], ...] = ()


LOST = UpstreamError(
    "The process that held the session died before anything was said.",
    code="session_lost",
)


@dataclass(slots=True, kw_only=True)
class SessionEnd:
    """The end of one session; without an ``ending`` its process is lost."""

    job: Job
    attempt: Attempt
    ending: EndOfSession | None
    # The document of so many finals, stored once however often the commit is tried.
    raws: dict[int, str] = field(default_factory=dict)

    def commit(self, now: datetime) -> bool:
        """End the session; false if it had been ended, or is not lost after all."""
        while (has_ended := self._try_to_end(now)) is None:
            pass  # more was said while the document was stored
        for raw in self.raws.values():
            drop_unused(self.job, raw)
        return has_ended

    def _try_to_end(self, now: datetime) -> bool | None:
        """Store the document, then lock what it is about: storage may be slow.

        None when it does not hold all that was said.
        """
        said = read_segments(self.job)
        ending = self.ending or _end_of_lost(self.job, said)
        document = self._build_document(said, ending)
        error = None if live_documents.has_words(said) else ending.error
        if error is None:
            self._store(document, number=len(said))
        with transaction.atomic():
            if not self._lock():
                return False
            rows = Job.objects.filter(pk=self.job.pk, status=JobStatus.PROCESSING)
            is_open = rows.filter(lease_token=self.job.lease_token).exists()
            finals = LiveFinal.objects.filter(job=self.job)
            if is_open and finals.count() != len(said):
                return None
            is_first = self._close_attempt(ending, now=now)
            if is_open and error is not None:
                self._fail(error, now=now)
            elif is_open:
                self._complete(document, ending, number=len(said), now=now)
            elif is_first:
                quotas.count_late(self.attempt)
            if is_open or not rows.exists():
                finals.delete()
        return is_open

    def _build_document(
        self, said: Sequence[Segment], ending: EndOfSession
    ) -> dict[str, Any]:
        return live_documents.build_document(
            said,
            channels=ending.channels,
            seconds=ending.audio_seconds,
            request_id=ending.request_id,
            model_info=ending.model_info,
            created=self.job.created_at,
        )

    def _store(self, document: Mapping[str, Any], *, number: int) -> None:
        if number not in self.raws:
            packed = json.dumps(document, separators=(",", ":")).encode()
            self.raws[number] = store_raw(self.job, self.attempt, packed)

    def _lock(self) -> bool:
        """Lock the call, then the job, as whoever ends a call does.

        The job's lock is the one that storing finals waits for. False for a session
        that was to be lost and is not: its process lives, or somebody has ended it.
        """
        list(Attempt.objects.select_for_update(of=("self",)).filter(pk=self.attempt.pk))
        job = Job.objects.select_for_update().filter(pk=self.job.pk)
        list(job)
        if self.ending is not None:
            return True
        lost = job.filter(
            status=JobStatus.PROCESSING,
            lease_token=self.job.lease_token,
            lease_until__lt=Now(),
        )
        return lost.exists()

    def _close_attempt(self, ending: EndOfSession, *, now: datetime) -> bool:
        if self.ending is None:
            # How much of it was heard is for the upstream's own log to say.
            opened = Attempt.objects.filter(
                pk=self.attempt.pk, outcome=Attempt.Outcome.OPEN
            )
            unknown = Attempt.Outcome.UNKNOWN
            opened.update(outcome=unknown, error_code="worker_lost", finished_at=now)
            return False
        error = ending.error
        return services.close_attempt(
            self.attempt,
            outcome=Attempt.Outcome.ERROR if error else Attempt.Outcome.OK,
            now=now,
            request_id=ending.request_id,
            status_code=error.status if error else 101,
            error_code=error.code if error else "",
            **spent_on(self.job, seconds=ending.seconds, channels=ending.channels),
        )

    def _fail(self, error: UpstreamError, *, now: datetime) -> None:
        services.advance(
            Job.objects.filter(pk=self.job.pk, lease_token=self.job.lease_token),
            to=JobStatus.FAILED,
            at=now,
            error_code=error.code,
            error_detail=error.message,
        )

    def _complete(
        self,
        document: dict[str, Any],
        ending: EndOfSession,
        *,
        number: int,
        now: datetime,
    ) -> None:
        summary = documents.parse_summary(document)
        if summary is None:
            raise ValueError("a document of ours makes no sense")
        warnings: list[Any] = documents.find_warnings(
            summary, expected_seconds=None, expected_channels=None
        )
        warnings += ending.warnings
        if ending.error:
            warnings.append(INTERRUPTED)
        complete(
            self.job,
            summary,
            raw=self.raws[number],
            request_id=ending.request_id,
            warnings=warnings,
            now=now,
        )


def read_segments(job: Job) -> list[Segment]:
    """Return what is stored of a session, in the order in which it was told."""
    return [
        Segment(
            channel=each.channel,
            start=each.start,
            end=each.end,
            speech_final=each.speech_final,
            alternative=json.loads(each.alternative),
        )
        for each in LiveFinal.objects.filter(job=job).order_by("seq")
    ]


def spent_on(job: Job, *, seconds: float, channels: int) -> dict[str, Any]:
    """Return what the upstream bills for so many seconds of a stream."""
    return {
        "audio_seconds": seconds,
        "cost_estimate": prices.estimate_cost(
            model=str(job.options.get("model", "")),
            audio_seconds=seconds,
            channels=channels,
            per_minute=settings.LIVE_PRICES_PER_MINUTE,
        ),
    }


def _end_of_lost(job: Job, said: Sequence[Segment]) -> EndOfSession:
    return EndOfSession(
        audio_seconds=max((each.end for each in said), default=0.0),
        seconds=0.0,
        channels=job.channels or 1,
        error=LOST,
    )

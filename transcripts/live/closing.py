"""The end of a live session: one document of its finals, and one commit.

The first to commit ends it: its own process, or the sweeper that finds it lost.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models.functions import Now

from jobs import services
from jobs.calls import CallFacts, close_attempts
from jobs.errors import UpstreamError
from jobs.models import Attempt, Job
from jobs.quotas import quotas
from jobs.state import JobStatus
from transcripts import documents, prices, storage
from transcripts.live import documents as live_documents
from transcripts.live.documents import Segment
from transcripts.models import LiveFinal, Transcript
from transcripts.outcomes.finishing import StoredResult, complete

INTERRUPTED = {
    "code": "session_interrupted",
    "detail": "The session was interrupted. The transcript ends at the interruption.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfSession:
    """How a session ended.

    ``audio_seconds`` is the audio of the session, ``seconds`` that of its last call.
    ``error`` is None after a regular end.
    """

    audio_seconds: float
    seconds: float
    channels: int = 1
    request_id: str = ""
    model_info: Mapping[str, Any] = field(default_factory=dict)
    error: UpstreamError | None = None
    warnings: tuple[Mapping[str, str], ...] = ()


LOST = UpstreamError(
    "The process of the session died before any speech was recognized.",
    code="session_lost",
)


@dataclass(slots=True, kw_only=True)
class SessionEnd:
    """The commit of a session's end; ``ending`` is None if its process died."""

    job: Job
    attempt: Attempt
    ending: EndOfSession | None
    # Storage names by number of finals: retries do not store a document twice.
    raws: dict[int, str] = field(default_factory=dict)

    def commit(self, now: datetime) -> bool:
        """End the session; False if it has ended already or its process is alive."""
        while (has_ended := self._try_to_end(now)) is None:
            pass  # a final was added while the document was being stored
        for raw in self.raws.values():
            _drop_unused(self.job, raw)
        return has_ended

    def _try_to_end(self, now: datetime) -> bool | None:
        """Store the document, then lock the job: storage may be slow.

        None if finals were added in between.
        """
        segments = read_segments(self.job)
        ending = self.ending or _build_lost_end(self.job, segments)
        document = self._build_document(segments, ending)
        error = None if live_documents.has_words(segments) else ending.error
        if error is None:
            self._store(document, number=len(segments))
        with transaction.atomic():
            if not self._lock():
                return False
            rows = Job.objects.filter(pk=self.job.pk, status=JobStatus.PROCESSING)
            is_open = rows.filter(lease_token=self.job.lease_token).exists()
            finals = LiveFinal.objects.filter(job=self.job)
            if is_open and finals.count() != len(segments):
                return None
            is_first = self._close_attempt(ending, now=now)
            if is_open and error is not None:
                self._fail(error, now=now)
            elif is_open:
                self._complete(document, ending, number=len(segments), now=now)
            elif is_first:
                quotas.count_late(self.attempt)
            if is_open or not rows.exists():
                finals.delete()
        return is_open

    def _build_document(
        self, segments: Sequence[Segment], ending: EndOfSession
    ) -> dict[str, Any]:
        return live_documents.build_document(
            segments,
            channels=ending.channels,
            seconds=ending.audio_seconds,
            request_id=ending.request_id,
            model_info=ending.model_info,
            created=self.job.created_at,
        )

    def _store(self, document: Mapping[str, Any], *, number: int) -> None:
        if number not in self.raws:
            packed = json.dumps(document, separators=(",", ":")).encode()
            self.raws[number] = storage.store_result(
                self.attempt, packed, number=number
            )

    def _lock(self) -> bool:
        """Lock the attempt, then the job: the order of all code that ends a call.

        Storing finals waits for the job's lock. False if a session that seemed lost has
        ended or its process is alive.
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
            # The billed seconds are unknown until the attempt is reconciled.
            opened = Attempt.objects.filter(
                pk=self.attempt.pk, outcome=Attempt.Outcome.OPEN
            )
            unknown = Attempt.Outcome.UNKNOWN
            opened.update(outcome=unknown, error_code="worker_lost", finished_at=now)
            return False
        error = ending.error
        facts = CallFacts(
            attempt=self.attempt,
            outcome=Attempt.Outcome.ERROR if error else Attempt.Outcome.OK,
            request_id=ending.request_id,
            status_code=error.status if error else 101,
            error_code=error.code if error else "",
            **build_cost(self.job, seconds=ending.seconds, channels=ending.channels),
        )
        return bool(close_attempts([facts], now=now))

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
            raise ValueError("the built document cannot be parsed")
        warnings: list[Any] = documents.find_warnings(
            summary, expected_seconds=None, expected_channels=None
        )
        if any(each["code"] == "results_incomplete" for each in ending.warnings):
            # Deepgram did not finish: whether there was speech is unknown.
            warnings = [each for each in warnings if each["code"] != "no_speech"]
        warnings += ending.warnings
        if ending.error:
            warnings.append(INTERRUPTED)
        result = StoredResult(
            raw=self.raws[number], summary=summary, request_id=ending.request_id
        )
        complete(self.job, result, warnings=warnings, now=now)


def _drop_unused(job: Job, raw: str) -> None:
    """Delete a stored document unless the transcript uses it.

    A commit that seemed to fail may have succeeded: then the document is in use.
    """
    if not Transcript.objects.filter(job=job, raw=raw).exists():
        default_storage.delete(raw)


def read_segments(job: Job) -> list[Segment]:
    """Return the stored finals of a session in the order they were sent."""
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


def build_cost(job: Job, *, seconds: float, channels: int) -> dict[str, Any]:
    """Return the attempt fields that the upstream bills for a stream."""
    return {
        "audio_seconds": seconds,
        "cost_estimate": prices.estimate_cost(
            model=str(job.options.get("model", "")),
            audio_seconds=seconds,
            channels=channels,
            per_minute=settings.LIVE_PRICES_PER_MINUTE,
        ),
    }


def _build_lost_end(job: Job, segments: Sequence[Segment]) -> EndOfSession:
    return EndOfSession(
        audio_seconds=max((each.end for each in segments), default=0.0),
        seconds=0.0,
        channels=job.channels or 1,
        error=LOST,
    )

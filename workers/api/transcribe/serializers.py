"""Shapes of ``/v1/transcribe``: a job's, and how long to wait for it."""

from typing import Any

from rest_framework import serializers

from jobs.api.jobs.serializers import JobInput, JobOutput, RouteOutput
from jobs.errors import InvalidRequest
from jobs.rest.serializers import TrueFalseField, WholeNumberField
from jobs.routing.hybrid_router import DurationSource, RequestFacts, RouteMode
from jobs.services import JobDraft
from transcripts.api.serializers import TranscriptOutput

MAX_WAIT_SECONDS = 60
DEFAULT_WAIT_SECONDS = 55
_OWN_FIELDS = ("mode", "wait", "duration_seconds", "probe_url")


class SecondsField(serializers.FloatField):
    """A JSON number of seconds; text that looks like one is not."""

    def to_internal_value(self, data: Any) -> float:
        """Refuse everything but a finite number."""
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class TranscribeInput(JobInput):
    """Audio by URL or as a file, and how its transcript is wanted.

    Without ``mode`` the length of the audio decides; ``duration_seconds`` tells it of a
    URL, and ``probe_url`` has us find it out.
    """

    mode = serializers.ChoiceField(
        choices=[str(way) for way in RouteMode], required=False
    )
    wait = WholeNumberField(
        required=False, min_value=1, max_value=MAX_WAIT_SECONDS, help_text="Seconds."
    )
    duration_seconds = SecondsField(
        required=False, min_value=0, max_value=7 * 24 * 3600
    )
    probe_url = TrueFalseField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check what fields say together; a stream has no audio yet."""
        if attrs.get("mode") != RouteMode.STREAM:
            return super().validate(attrs)
        for name in ("file", "audio_url"):
            if name in attrs:
                raise InvalidRequest(
                    "A stream's audio goes through its socket.",
                    code="field_conflict",
                    pointer=f"/{name}",
                )
        return attrs

    @property
    def asked(self) -> RouteMode | None:
        """The explicit mode."""
        mode = self.validated_data.get("mode")
        return RouteMode(mode) if mode else None

    @property
    def wait_seconds(self) -> int:
        """How long to wait for the transcript."""
        return int(self.validated_data.get("wait", DEFAULT_WAIT_SECONDS))

    @property
    def wants_probe(self) -> bool:
        """Whether we are to find out how long the audio at the URL is."""
        return bool(self.validated_data.get("probe_url"))

    def facts_of(self, draft: JobDraft) -> RequestFacts:
        """Return what is known of the audio: a file was measured, a URL is told of."""
        told = self.validated_data.get("duration_seconds")
        if draft.duration_seconds is not None:
            seconds, source = draft.duration_seconds, DurationSource.UPLOAD
        elif told is not None:
            seconds, source = told, DurationSource.REQUEST
        else:
            seconds, source = None, DurationSource.NOBODY
        return RequestFacts(asked=self.asked, duration_seconds=seconds, source=source)


class TranscribedOutput(serializers.Serializer[Any]):
    """A job that was waited for, and what came out of it."""

    request_id = serializers.CharField(help_text="Deepgram's id for the call.")
    metadata = serializers.JSONField(
        help_text="The metadata that was sent with the job."
    )
    transcript = TranscriptOutput()
    job = JobOutput()
    route = RouteOutput()


class TicketOutput(serializers.Serializer[Any]):
    """A socket to stream to, and the ticket that opens it once."""

    url = serializers.CharField()
    ticket = serializers.CharField()
    expires_at = serializers.DateTimeField()
    route = RouteOutput()


class ExplainedOutput(serializers.Serializer[Any]):
    """Which way the request would go; nothing was run or kept."""

    route = RouteOutput()

"""Serializers of ``/v1/transcribe``: a job's fields, mode and wait time."""

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
    """A JSON number of seconds; unlike FloatField it rejects strings."""

    def to_internal_value(self, data: Any) -> float:
        """Return the number; raises ValidationError for other values."""
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class TranscribeInput(JobInput):
    """Audio by URL or as a file, with the mode of transcription.

    Without `mode`, the duration of the audio decides. Pass the duration of a URL in
    `duration_seconds`, or set `probe_url` to let the API determine it.
    """

    mode = serializers.ChoiceField(
        choices=[str(mode) for mode in RouteMode], required=False
    )
    wait = WholeNumberField(
        required=False, min_value=1, max_value=MAX_WAIT_SECONDS, help_text="Seconds."
    )
    duration_seconds = SecondsField(
        required=False, min_value=0, max_value=7 * 24 * 3600
    )
    probe_url = TrueFalseField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Validate combinations of fields; a stream must have no audio."""
        if attrs.get("mode") != RouteMode.STREAM:
            return super().validate(attrs)
        for name in ("file", "audio_url"):
            if name in attrs:
                raise InvalidRequest(
                    "Send the audio of a stream through its WebSocket.",
                    code="field_conflict",
                    pointer=f"/{name}",
                )
        return attrs

    @property
    def explicit_mode(self) -> RouteMode | None:
        """The requested mode, if any."""
        mode = self.validated_data.get("mode")
        return RouteMode(mode) if mode else None

    @property
    def wait_seconds(self) -> int:
        """The seconds to wait for the transcript."""
        return int(self.validated_data.get("wait", DEFAULT_WAIT_SECONDS))

    @property
    def wants_probe(self) -> bool:
        """Whether to probe the URL for the duration of its audio."""
        return bool(self.validated_data.get("probe_url"))

    def facts_of(self, draft: JobDraft) -> RequestFacts:
        """Return the facts for routing: the probed or the stated duration."""
        stated = self.validated_data.get("duration_seconds")
        if draft.duration_seconds is not None:
            seconds, source = draft.duration_seconds, DurationSource.UPLOAD
        elif stated is not None:
            seconds, source = stated, DurationSource.REQUEST
        else:
            seconds, source = None, DurationSource.NONE
        return RequestFacts(
            mode=self.explicit_mode, duration_seconds=seconds, source=source
        )


class TranscribedOutput(serializers.Serializer[Any]):
    """A completed job with its transcript."""

    request_id = serializers.CharField(
        allow_null=True, help_text="Deepgram's id for the call."
    )
    metadata = serializers.JSONField(
        help_text="The metadata that was sent with the job."
    )
    transcript = TranscriptOutput()
    job = JobOutput()
    route = RouteOutput()


class TicketOutput(serializers.Serializer[Any]):
    """A WebSocket URL with a single-use ticket."""

    url = serializers.CharField()
    ticket = serializers.CharField()
    expires_at = serializers.DateTimeField()
    route = RouteOutput()


class ExplainedOutput(serializers.Serializer[Any]):
    """The route that the request would take; nothing is run or stored."""

    route = RouteOutput()

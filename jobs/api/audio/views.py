"""A job's audio, for whoever may read its transcript."""

from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from jobs import queries
from jobs.api.audio import openapi as audio_schema
from jobs.api.audio import responses as audio_answers
from jobs.audio import stored_audio
from jobs.rest.views import ApiView, tenant_of


class AudioRenderer(BaseRenderer):
    """The form of the answer, so that ``Accept`` is held against it."""

    media_type = "audio/*"
    format = "audio"

    def render(self, *_answer: object) -> bytes:
        """Return nothing: the bytes do not come by here."""
        return b""


class VideoRenderer(AudioRenderer):
    """Audio with pictures is taken as well."""

    media_type = "video/*"


class BytesRenderer(AudioRenderer):
    """What the uploader did not name."""

    media_type = stored_audio.UNKNOWN_TYPE


class JobAudio(ApiView):
    """The audio of one job, as it was uploaded."""

    required_scopes = {"GET": "jobs:read"}
    renderer_classes = (AudioRenderer, VideoRenderer, BytesRenderer)

    @extend_schema(**audio_schema.AUDIO)
    def get(
        self, request: Request, job_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """Download the uploaded audio of a job.

        Accepts one `Range`. Audio submitted by URL is not stored.
        """
        job = queries.get_job(tenant=tenant_of(request), job_id=job_id)
        inner = request._request  # noqa: SLF001  DRF offers no other way
        return audio_answers.respond(inner, job)

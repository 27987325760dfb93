"""The audio endpoint of a job; needs the scope that reads its transcript."""

from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from jobs import queries
from jobs.api.audio import openapi as audio_schema
from jobs.api.audio.responses import build_audio_response
from jobs.audio import stored_audio
from jobs.rest.views import ApiView, get_tenant


class AudioRenderer(BaseRenderer):
    """Declares a media type for content negotiation; it renders nothing."""

    media_type = "audio/*"
    format = "audio"

    def render(self, *_answer: object) -> bytes:
        """Return nothing: the view returns the response itself."""
        return b""


class VideoRenderer(AudioRenderer):
    """Uploads may be videos."""

    media_type = "video/*"


class BytesRenderer(AudioRenderer):
    """Uploads of an unknown media type."""

    media_type = stored_audio.UNKNOWN_TYPE


class JobAudio(ApiView):
    """The uploaded audio of one job."""

    required_scopes = {"GET": "jobs:read"}
    renderer_classes = (AudioRenderer, VideoRenderer, BytesRenderer)

    @extend_schema(**audio_schema.AUDIO)
    def get(
        self, request: Request, job_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """Download the uploaded audio of a job.

        Accepts one `Range`. Audio submitted by URL is not stored.
        """
        job = queries.get_job(tenant=get_tenant(request), job_id=job_id)
        inner = request._request  # noqa: SLF001  DRF has no public accessor
        return build_audio_response(inner, job)

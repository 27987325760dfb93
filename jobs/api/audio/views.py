"""The audio endpoint of a job; needs the scope that reads its transcript."""

from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request

from jobs import queries
from jobs.api.audio.responses import build_audio_response
from jobs.audio import stored_audio
from jobs.rest.negotiation import build_renderer
from jobs.rest.openapi import document, header
from jobs.rest.views import ApiView, get_tenant

_AUDIO = "audio/*"
# Uploads may be videos, or of an unknown media type.
RENDERERS = tuple(
    build_renderer(each, "audio")
    for each in (_AUDIO, "video/*", stored_audio.UNKNOWN_TYPE)
)


class JobAudio(ApiView):
    """The uploaded audio of one job."""

    required_scopes = {"GET": "jobs:read"}
    renderer_classes = RENDERERS

    @document(
        "get_job_audio",
        {
            (200, _AUDIO): OpenApiTypes.BINARY,
            (206, _AUDIO): OpenApiTypes.BINARY,
        },
        problems=(410, 416),
        parameters=[
            header("Range", "One range of bytes: `bytes=0-65535` or `bytes=65536-`."),
            header(
                "If-Range",
                "Returns the range only if the `ETag` matches, else the whole file.",
            ),
            header("Content-Range", "The returned range.", 206, 416),
        ],
    )
    def get(
        self, request: Request, job_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """Download the uploaded audio of a job.

        Accepts one `Range`. Audio submitted by URL is not stored.
        """
        job = queries.get_job(tenant=get_tenant(request), job_id=job_id)
        inner = request._request  # noqa: SLF001  DRF has no public accessor
        return build_audio_response(inner, job)

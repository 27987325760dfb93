"""The transcripts API: one transcript, in the form that the caller takes."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api import ApiView, HeaderNegotiation, refuse_parameter, tenant_of
from jobs.schema import problems
from transcripts import queries, services
from transcripts.serializers import TranscriptOutput, present_transcript


class TextRenderer(BaseRenderer):
    """The words alone."""

    media_type = "text/plain"
    format = "text"

    def render(self, data: Any, *_context: Any, **_more: Any) -> bytes:
        """Encode the text."""
        return str(data).encode()


class RawRenderer(BaseRenderer):
    """The upstream's own document, byte by byte."""

    media_type = "application/vnd.deepgram+json"
    format = "raw"
    charset = None
    render_style = "binary"

    def render(self, data: Any, *_context: Any, **_more: Any) -> bytes:
        """Return it as it is."""
        return bytes(data)


class FormatNegotiation(HeaderNegotiation):
    """Let ``?format=`` win over ``Accept``, for addresses that are passed around."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer of that format; raises InvalidRequest for an unknown."""
        wanted = request.query_params.get("format")
        if wanted is None:
            chosen: tuple[BaseRenderer, str] = super().select_renderer(
                request, renderers, format_suffix
            )
            return chosen
        renderer = next((each for each in renderers if each.format == wanted), None)
        if renderer is None:
            refuse_parameter("format", "This is one of json, text, raw.")
        return renderer, renderer.media_type


class TranscriptDetail(ApiView):
    """What came out of one job."""

    required_scopes = {"GET": "jobs:read"}
    query_parameters = {"GET": ("format",)}
    content_negotiation_class = FormatNegotiation
    renderer_classes = (JSONRenderer, TextRenderer, RawRenderer)

    @extend_schema(
        operation_id="get_transcript",
        parameters=[
            OpenApiParameter("format", OpenApiTypes.STR, enum=["json", "text", "raw"])
        ],
        responses={
            (200, JSONRenderer.media_type): TranscriptOutput,
            (200, TextRenderer.media_type): OpenApiTypes.STR,
            (200, RawRenderer.media_type): OpenApiTypes.OBJECT,
            **problems(404, 409, 410),
        },
    )
    def get(self, request: Request, job_id: UUID) -> Response:
        """Return the transcript as JSON, as plain text, or as Deepgram sent it."""
        transcript = queries.get_transcript(tenant=tenant_of(request), job_id=job_id)
        match request.accepted_renderer.format:
            case "text":
                return Response(transcript.text)
            case "raw":
                return Response(services.read_raw(transcript))
        document = services.read_document(transcript)
        return Response(present_transcript(transcript, document))

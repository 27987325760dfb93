"""The transcripts API: one transcript, in the form that the caller takes."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.accounts import audit
from jobs.rest.negotiation import FormatNegotiation
from jobs.rest.views import ApiView, key_of, tenant_of
from transcripts import links, queries, services
from transcripts.api import openapi as api_openapi
from transcripts.api.serializers import LinkInput, LinkOutput
from transcripts.formats import FORMATS, Format
from transcripts.models import Transcript


class FormatRenderer(BaseRenderer):
    """Sends what a format has built, byte by byte."""

    render_style = "binary"

    def render(self, data: Any, *_context: Any, **_more: Any) -> bytes:
        """Return it as it is; an answer to OPTIONS has nothing."""
        return bytes(data or b"")


def _renderer_of(made: Format) -> type[FormatRenderer]:
    names = {"media_type": made.media_type, "format": made.name}
    return type(made.name, (FormatRenderer,), {**names, "charset": made.charset})


class TranscriptDetail(ApiView):
    """What came out of one job, for its tenant's keys or for whoever has a link."""

    required_scopes = {"GET": "jobs:read"}
    query_parameters = {"GET": links.PARAMETERS}
    content_negotiation_class = FormatNegotiation
    renderer_classes = tuple(map(_renderer_of, FORMATS.values()))

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Ask a link for no key; one that comes with it counts for nothing."""
        return [] if _is_link(self.request) else super().get_authenticators()

    def get_permissions(self) -> list[Any]:
        """Let a link in; what it opens its signature says."""
        return [] if _is_link(self.request) else list(super().get_permissions())

    @extend_schema(**api_openapi.TRANSCRIPT)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Get a transcript.

        Returns JSON, text, captions or Deepgram's original response.

        With the `expires` and `signature` of a link, no key is needed.
        """
        if not _is_link(request):
            tenant = tenant_of(request)
            transcript = queries.get_transcript(tenant=tenant, job_id=job_id)
            return _present(request, transcript)
        job = links.open_link(
            job_id=job_id, now=timezone.now(), **_link_parameters(request)
        )
        answer = _present(request, queries.get_transcript_of(job))
        # The address itself is the secret.
        answer.headers["Cache-Control"] = "private, no-store"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["X-Robots-Tag"] = "noindex"
        return answer


class TranscriptLinks(ApiView):
    """Links to one transcript, for those without a key."""

    required_scopes = {"POST": "jobs:read"}

    @extend_schema(**api_openapi.MAKE_LINK)
    def post(self, request: Request, job_id: UUID) -> Response:
        """Create a link to a transcript.

        The link needs no key and works until it expires.
        """
        asked = LinkInput(data=request.data)
        asked.is_valid(raise_exception=True)
        url, expires_at = services.make_link(
            transcript=queries.get_transcript(tenant=tenant_of(request), job_id=job_id),
            format_name=asked.validated_data["format"],
            expires_in_seconds=asked.validated_data["expires_in_seconds"],
            actor=audit.actor_of(key_of(request)),
            now=timezone.now(),
        )
        made = LinkOutput({"url": url, "expires_at": expires_at})
        return Response(made.data, status=status.HTTP_201_CREATED)


def _is_link(request: Request | HttpRequest | None) -> bool:
    """Tell a request that brings a link's signature, or a part of it, from others."""
    if request is None or request.method not in {"GET", "HEAD"}:
        return False
    given = request.GET
    return links.EXPIRES in given or links.SIGNATURE in given


def _link_parameters(request: Request) -> dict[str, str]:
    given = request.query_params
    return {
        "format_name": given.get("format", ""),
        "expires": given.get(links.EXPIRES, ""),
        "signature": given.get(links.SIGNATURE, ""),
    }


def _present(request: Request, transcript: Transcript) -> Response:
    chosen = FORMATS[request.accepted_renderer.format]
    name = f"{transcript.job_id}.{chosen.extension}"
    return Response(
        services.build_format(transcript, chosen),
        headers={"Content-Disposition": f'inline; filename="{name}"'},
    )

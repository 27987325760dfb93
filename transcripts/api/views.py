"""The transcript endpoints: one transcript in the requested format, and links."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.rest.negotiation import FormatNegotiation, build_renderer
from jobs.rest.openapi import document, query_parameter
from jobs.rest.views import ApiView, get_actor, get_tenant, validate
from transcripts import links, queries, services
from transcripts.api.serializers import LinkInput, LinkOutput, TranscriptOutput
from transcripts.formats import FORMATS
from transcripts.models import Transcript


class TranscriptDetail(ApiView):
    """The transcript of one job, for its tenant's keys and for links."""

    required_scopes = {"GET": "jobs:read"}
    content_negotiation_class = FormatNegotiation
    renderer_classes = tuple(
        build_renderer(each.media_type, each.name, each.charset)
        for each in FORMATS.values()
    )

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Links need no API key; a key sent with a link is ignored."""
        return [] if _is_link(self.request) else super().get_authenticators()

    def get_permissions(self) -> list[Any]:
        """The signature authorizes a link."""
        return [] if _is_link(self.request) else list(super().get_permissions())

    @document(
        "get_transcript",
        {
            **{(200, each.media_type): OpenApiTypes.STR for each in FORMATS.values()},
            200: TranscriptOutput,
            (200, FORMATS["raw"].media_type): OpenApiTypes.OBJECT,
        },
        auth=[{"ApiKey": []}, {}],  # a link needs no key
        parameters=[
            query_parameter("format", enum=list(FORMATS)),
            query_parameter("expires", description="Expiry of a link."),
            query_parameter("signature", description="Signature of a link."),
        ],
        problems=(409, 410),
    )
    def get(self, request: Request, job_id: UUID) -> Response:
        """Get a transcript.

        Returns JSON, text, captions or Deepgram's original response.

        With the `expires` and `signature` of a link, no key is needed.
        """
        if not _is_link(request):
            tenant = get_tenant(request)
            transcript = queries.get_transcript(tenant=tenant, job_id=job_id)
            return _present(request, transcript)
        job = links.open_link(
            job_id=job_id, now=timezone.now(), **_link_parameters(request)
        )
        response = _present(request, queries.get_transcript_of(job))
        # The URL is a secret.
        response.headers["Cache-Control"] = "private, no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Robots-Tag"] = "noindex"
        return response


class TranscriptLinks(ApiView):
    """Links to one transcript."""

    required_scopes = {"POST": "jobs:read"}

    @document(
        "create_transcript_link",
        {201: LinkOutput},
        request=LinkInput,
        problems=(409, 410),
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Create a link to a transcript.

        The link needs no key and works until it expires.
        """
        form = validate(request, LinkInput)
        url, expires_at = services.make_link(
            transcript=queries.get_transcript(
                tenant=get_tenant(request), job_id=job_id
            ),
            format_name=form.validated_data["format"],
            expires_in_seconds=form.validated_data["expires_in_seconds"],
            actor=get_actor(request),
            now=timezone.now(),
        )
        link = LinkOutput({"url": url, "expires_at": expires_at})
        return Response(link.data, status=status.HTTP_201_CREATED)


def _is_link(request: Request | HttpRequest | None) -> bool:
    """Return whether the request has any parameter of a link."""
    if request is None or request.method not in {"GET", "HEAD"}:
        return False
    params = request.GET
    return links.EXPIRES in params or links.SIGNATURE in params


def _link_parameters(request: Request) -> dict[str, str]:
    params = request.query_params
    return {
        "format_name": params.get("format", ""),
        "expires": params.get(links.EXPIRES, ""),
        "signature": params.get(links.SIGNATURE, ""),
    }


def _present(request: Request, transcript: Transcript) -> Response:
    chosen = FORMATS[request.accepted_renderer.format]
    name = f"{transcript.job_id}.{chosen.extension}"
    return Response(
        services.build_format(transcript, chosen),
        headers={"Content-Disposition": f'inline; filename="{name}"'},
    )

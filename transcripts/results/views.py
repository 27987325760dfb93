"""The results of a batch: also while it runs, of what has ended so far."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from jobs.batches import records
from jobs.errors import Conflict
from jobs.models import Batch, BatchState
from jobs.rest import downloads
from jobs.rest.negotiation import build_renderer
from jobs.rest.openapi import document, query_parameter
from jobs.rest.views import ApiView, get_tenant, refuse_parameter
from transcripts.formats import FORMATS, Format
from transcripts.results import archive, lines
from transcripts.results.lines import ErrorLine, ResultLine

# Two media types of JSON lines are in use.
LINES = ("application/x-ndjson", "application/jsonl")
ZIP = "application/zip"


def _describe_lines(row: type[Serializer[Any]]) -> dict[tuple[int, str], Any]:
    response = OpenApiResponse(row, "One JSON object per line.")
    return {(200, media_type): response for media_type in LINES}


class ResultsView(ApiView):
    """Base of the results views."""

    required_scopes = {"GET": "jobs:read"}
    renderer_classes = tuple(build_renderer(each, "jsonl") for each in LINES)


class BatchResults(ResultsView):
    """The completed jobs of a batch."""

    @document(
        "list_batch_results",
        _describe_lines(ResultLine),
        problems=(409,),
    )
    def get(
        self, request: Request, batch_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """List the results of a batch.

        Streams transcripts as one JSON object per line, in the order of the batch.
        """
        batch = _get_batch(request, batch_id)
        return downloads.stream_download(
            request,
            lambda: lines.write_results(batch),
            tenant_id=batch.tenant_id,
            filename=f"{batch.pk}-results.jsonl",
            content_type=request.accepted_renderer.media_type,
        )


class BatchErrors(ResultsView):
    """The rejected lines and failed jobs of a batch."""

    @document(
        "list_batch_errors",
        _describe_lines(ErrorLine),
        problems=(409,),
    )
    def get(
        self, request: Request, batch_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """List the errors of a batch.

        Streams rejected lines and failed jobs as one JSON object per line.
        """
        batch = _get_batch(request, batch_id)
        return downloads.stream_download(
            request,
            lambda: lines.write_errors(batch),
            tenant_id=batch.tenant_id,
            filename=f"{batch.pk}-errors.jsonl",
            content_type=request.accepted_renderer.media_type,
        )


class BatchArchive(ResultsView):
    """All transcripts of a batch in one zip file."""

    renderer_classes = (build_renderer(ZIP, "zip"),)

    @document(
        "download_batch_transcripts",
        {(200, ZIP): OpenApiTypes.BINARY},
        problems=(409,),
        parameters=[
            query_parameter(
                "format",
                enum=list(FORMATS),
                default="json",
                description="Format of each file.",
            )
        ],
    )
    def get(
        self, request: Request, batch_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """Download the transcripts of a batch.

        Returns a zip file with one file per transcript in the requested format.

        Its `manifest.jsonl` maps files to jobs and lists omitted jobs.
        """
        batch = _get_batch(request, batch_id)
        chosen = _parse_format(request.query_params.get("format", "json"))
        return downloads.stream_download(
            request,
            lambda: archive.write_archive(batch, chosen),
            tenant_id=batch.tenant_id,
            filename=f"{batch.pk}-{chosen.name}.zip",
            content_type=ZIP,
        )


def _get_batch(request: Request, batch_id: UUID) -> Batch:
    batch = records.get_batch(tenant=get_tenant(request), batch_id=batch_id)
    if batch.state == BatchState.PREPARING:
        message = "The batch is still being created and has no results yet."
        raise Conflict(message, code="batch_state_conflict")
    return batch


def _parse_format(name: str) -> Format:
    if name not in FORMATS:
        refuse_parameter("format", f"Must be one of {', '.join(FORMATS)}.")
    return FORMATS[name]

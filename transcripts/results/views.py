"""The results of a batch: also while it runs, of what has ended so far."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from jobs.batches import records
from jobs.errors import Conflict
from jobs.models import Batch, BatchState
from jobs.rest import downloads
from jobs.rest.views import ApiView, get_tenant, refuse_parameter
from transcripts.formats import FORMATS, Format
from transcripts.results import archive, lines
from transcripts.results import openapi as results_openapi


class LinesRenderer(BaseRenderer):
    """Declares the media type of JSON lines; the view renders them itself."""

    media_type = results_openapi.LINES
    format = "jsonl"

    def render(self, *_answer: Any) -> bytes:
        """Return nothing: the view streams the response."""
        return b""


class OtherLinesRenderer(LinesRenderer):
    """The newer media type of JSON lines."""

    media_type = results_openapi.OTHER_LINES


class ArchiveRenderer(LinesRenderer):
    """Declares the media type of the archive."""

    media_type = results_openapi.ZIP
    format = "zip"


class ResultsView(ApiView):
    """Base of the results views."""

    required_scopes = {"GET": "jobs:read"}
    renderer_classes: tuple[type[BaseRenderer], ...] = (
        LinesRenderer,
        OtherLinesRenderer,
    )


class BatchResults(ResultsView):
    """The completed jobs of a batch."""

    @extend_schema(**results_openapi.RESULTS)
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

    @extend_schema(**results_openapi.ERRORS)
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

    query_parameters = {"GET": ("format",)}
    renderer_classes = (ArchiveRenderer,)

    @extend_schema(**results_openapi.ARCHIVE)
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
            content_type=results_openapi.ZIP,
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

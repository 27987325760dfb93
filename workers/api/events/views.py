"""Event streams of a tenant, a batch or a job.

The views run in a request thread; the response body runs on the event loop.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework import status
from rest_framework.request import Request

from jobs import queries
from jobs.accounts.client_address import client_address
from jobs.api import event_stream
from jobs.api.event_stream import (
    BATCH_ENDED,
    JOB_ENDED,
    TYPES,
    EventFilters,
    EventPosition,
)
from jobs.api.jobs.serializers import JobOutput
from jobs.batches import records
from jobs.batches.api.serializers import BatchOutput
from jobs.errors import InvalidRequest, NotServedHere
from jobs.models import Batch, Job
from jobs.rest.filters import parse_id
from jobs.rest.negotiation import build_renderer
from jobs.rest.openapi import comma_separated, document, header, query_parameter
from jobs.rest.views import ApiView, get_api_key, get_tenant, refuse_parameter
from workers.api.events import sse
from workers.api.events.hub import SCOPE
from workers.api.events.slots import get_slots
from workers.api.events.stream import EventStreamBody, StreamStart

HEADER = "Last-Event-ID"


LAST_EVENT_ID = "last_event_id"
_POSITION = [
    header(HEADER, "The `id` of the last event received, where to continue."),
    query_parameter(
        LAST_EVENT_ID,
        description=f"For clients that cannot send `{HEADER}`, which takes precedence.",
    ),
]
_STREAM: dict[Any, Any] = {
    (200, sse.MEDIA_TYPE): OpenApiResponse(OpenApiTypes.STR, "Event stream.")
}
_STREAM_OR_END = {
    **_STREAM,
    204: OpenApiResponse(
        description="The job or batch has ended and no events are left."
        " Do not reconnect."
    ),
}


class StreamView(ApiView):
    """Base class of the event streams."""

    required_scopes = {"GET": SCOPE}
    renderer_classes = (build_renderer(sse.MEDIA_TYPE, "event-stream"),)


class Events(StreamView):
    """`/v1/events`."""

    @document(
        "stream_events",
        _STREAM,
        problems=(421,),
        parameters=[
            *_POSITION,
            query_parameter(
                "types",
                comma_separated(TYPES),
                description=f"Comma-separated: {', '.join(TYPES)}.",
            ),
            query_parameter("batch_id", OpenApiTypes.UUID),
        ],
    )
    def get(self, request: Request) -> HttpResponse | StreamingHttpResponse:
        """Stream the events of all jobs and batches.

        Sends each change of status as it is committed.
        """
        now = event_stream.read_horizon()
        filters = EventFilters(
            tenant_id=get_tenant(request).pk,
            types=_parse_types(request.query_params),
            batch_id=parse_id(request.query_params, "batch_id"),
        )
        return _respond(request, filters, after=_parse_position(request) or now)


class JobEvents(StreamView):
    """`/v1/jobs/{id}/events`."""

    @document(
        "stream_job_events",
        _STREAM_OR_END,
        problems=(421,),
        parameters=_POSITION,
    )
    def get(
        self, request: Request, job_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """Stream the events of a job.

        Sends a snapshot of the job, then each change until the last.
        """
        now = event_stream.read_horizon()  # before the job, so that no event is missed
        tenant = get_tenant(request)
        job = queries.get_job(tenant=tenant, job_id=job_id)
        filters = EventFilters(tenant_id=tenant.pk, job_id=job.pk, ends_with=JOB_ENDED)
        return _respond_one(request, filters, job, JobOutput(job).data, now)


class BatchEvents(StreamView):
    """`/v1/batches/{id}/events`."""

    @document(
        "stream_batch_events",
        _STREAM_OR_END,
        problems=(421,),
        parameters=_POSITION,
    )
    def get(
        self, request: Request, batch_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """Stream the events of a batch.

        Sends a snapshot, then each change of the batch and its jobs until the last.
        """
        now = event_stream.read_horizon()
        tenant = get_tenant(request)
        batch = records.get_batch(tenant=tenant, batch_id=batch_id)
        filters = EventFilters(
            tenant_id=tenant.pk,
            batch_id=batch.pk,
            ends_with=frozenset({BATCH_ENDED}),
        )
        return _respond_one(request, filters, batch, BatchOutput(batch).data, now)


def _respond_one(
    request: Request,
    filters: EventFilters,
    subject: Job | Batch,
    shown: Any,
    now: EventPosition,
) -> HttpResponse | StreamingHttpResponse:
    """Start with a snapshot, or resume after the client's position."""
    after = _parse_position(request)
    is_final = subject.finished_at is not None
    if after is None:
        snapshot = sse.format_event("snapshot", shown, at=now)
        return _respond(
            request, filters, after=now, snapshot=snapshot, is_over=is_final
        )
    if is_final and not event_stream.is_more_to_come(subject, after=after):
        # Only 204 stops browsers from reconnecting.
        return HttpResponse(status=status.HTTP_204_NO_CONTENT)
    return _respond(request, filters, after=after)


def _respond(
    request: Request,
    filters: EventFilters,
    *,
    after: EventPosition,
    snapshot: bytes = b"",
    is_over: bool = False,
) -> HttpResponse | StreamingHttpResponse:
    inner = request._request  # noqa: SLF001  DRF offers no other way
    if not isinstance(inner, ASGIRequest):
        message = "Event streams are served by the platform's ASGI process."
        raise NotServedHere(message)
    content_type = f"{sse.MEDIA_TYPE}; charset=utf-8"
    if request.method == "HEAD":
        return HttpResponse(content_type=content_type)
    start = StreamStart(
        filters=filters,
        after=after,
        key_id=get_api_key(request).pk,
        address=client_address(inner),
        snapshot=snapshot,
        is_over=is_over,
    )
    # Django would close it only at the end of the stream.
    connection.close()
    body = EventStreamBody(start, get_slots().acquire(filters.tenant_id))
    # Disables response buffering in proxies (nginx).
    headers = {"X-Accel-Buffering": "no"}
    return StreamingHttpResponse(body, content_type=content_type, headers=headers)


def _parse_position(request: Request) -> EventPosition | None:
    """Return the client's position; raises InvalidRequest for an unknown one."""
    header, parameter = request.headers.get(HEADER), f"?{LAST_EVENT_ID}"
    text = header or request.query_params.get(LAST_EVENT_ID)
    if not text:
        return None
    try:
        position = EventPosition.parse(text)
    except ValueError:
        position = None
    # A future position is from another database, such as before a restore.
    if position is None or not event_stream.was_issued(position):
        raise InvalidRequest(
            "This is not the ID of an event. Reconnect without it.",
            code="last_event_id_invalid",
            pointer=HEADER if header else parameter,
        )
    return position


def _parse_types(params: Mapping[str, str]) -> frozenset[str]:
    if "types" not in params:
        return frozenset()
    types = frozenset(params["types"].split(","))
    if types - set(TYPES):
        refuse_parameter("types", f"Use a comma-separated list of {', '.join(TYPES)}.")
    return types

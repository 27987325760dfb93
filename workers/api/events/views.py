"""Event streams: of a tenant, of one batch, of one job.

The views check and look up in a request's thread, as all others do; only the body of
the answer runs on the event loop.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.renderers import BaseRenderer
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
from jobs.rest.views import ApiView, key_of, refuse_parameter, tenant_of
from workers.api.events import schema, sse
from workers.api.events.hub import SCOPE
from workers.api.events.schema import LAST_EVENT_ID
from workers.api.events.slots import get_slots
from workers.api.events.stream import EventStreamBody, StreamStart

HEADER = "Last-Event-ID"


class EventStreamRenderer(BaseRenderer):
    """The form of a stream, so that ``Accept`` is held against it."""

    media_type = sse.MEDIA_TYPE
    format = "event-stream"

    def render(self, *_answer: Any) -> bytes:
        """Return nothing: only what has no body comes by here."""
        return b""


class StreamView(ApiView):
    """What the streams have in common."""

    required_scopes = {"GET": SCOPE}
    query_parameters = {"GET": (LAST_EVENT_ID,)}
    renderer_classes = (EventStreamRenderer,)


class Events(StreamView):
    """All that happens to a tenant's jobs and batches."""

    query_parameters = {"GET": (LAST_EVENT_ID, "types", "batch_id")}

    @extend_schema(**schema.EVENTS)
    def get(self, request: Request) -> HttpResponse | StreamingHttpResponse:
        """Stream the events of all jobs and batches.

        Sends each change of status as it is committed.
        """
        now = event_stream.read_horizon()
        wanted = EventFilters(
            tenant_id=tenant_of(request).pk,
            types=_parse_types(request.query_params),
            batch_id=parse_id(request.query_params, "batch_id"),
        )
        return _respond(request, wanted, after=_parse_position(request) or now)


class JobEvents(StreamView):
    """What happens to one job."""

    @extend_schema(**schema.JOB_EVENTS)
    def get(
        self, request: Request, job_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """Stream the events of a job.

        Sends a snapshot of the job, then each change until the last.
        """
        now = event_stream.read_horizon()  # before the job, so that nothing is between
        tenant = tenant_of(request)
        job = queries.get_job(tenant=tenant, job_id=job_id)
        wanted = EventFilters(tenant_id=tenant.pk, job_id=job.pk, ends_with=JOB_ENDED)
        return _respond_one(request, wanted, job, JobOutput(job).data, now)


class BatchEvents(StreamView):
    """What happens to one batch and its jobs."""

    @extend_schema(**schema.BATCH_EVENTS)
    def get(
        self, request: Request, batch_id: UUID
    ) -> HttpResponse | StreamingHttpResponse:
        """Stream the events of a batch.

        Sends a snapshot, then each change of the batch and its jobs until the last.
        """
        now = event_stream.read_horizon()
        tenant = tenant_of(request)
        batch = records.get_batch(tenant=tenant, batch_id=batch_id)
        wanted = EventFilters(
            tenant_id=tenant.pk,
            batch_id=batch.pk,
            ends_with=frozenset({BATCH_ENDED}),
        )
        return _respond_one(request, wanted, batch, BatchOutput(batch).data, now)


def _respond_one(
    request: Request,
    wanted: EventFilters,
    subject: Job | Batch,
    shown: Any,
    now: EventPosition,
) -> HttpResponse | StreamingHttpResponse:
    """Begin with the subject as it is; whoever comes again goes on where it was."""
    after = _parse_position(request)
    is_final = subject.finished_at is not None
    if after is None:
        snapshot = sse.format_event("snapshot", shown, at=now)
        return _respond(request, wanted, after=now, snapshot=snapshot, is_over=is_final)
    if is_final and not event_stream.is_more_to_come(subject, after=after):
        # The one answer that keeps a browser from coming again.
        return HttpResponse(status=status.HTTP_204_NO_CONTENT)
    return _respond(request, wanted, after=after)


def _respond(
    request: Request,
    wanted: EventFilters,
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
    opening = StreamStart(
        wanted=wanted,
        after=after,
        key_id=key_of(request).pk,
        address=client_address(inner),
        snapshot=snapshot,
        is_over=is_over,
    )
    # Django would give it back when the stream has ended.
    connection.close()
    body = EventStreamBody(opening, get_slots().take(wanted.tenant_id))
    # Proxies that gather an answer before they pass it on are asked not to.
    headers = {"X-Accel-Buffering": "no"}
    return StreamingHttpResponse(body, content_type=content_type, headers=headers)


def _parse_position(request: Request) -> EventPosition | None:
    """Return where the caller was; raises InvalidRequest for what never was a place."""
    header, parameter = request.headers.get(HEADER), f"?{LAST_EVENT_ID}"
    text = header or request.query_params.get(LAST_EVENT_ID)
    if not text:
        return None
    try:
        position = EventPosition.parse(text)
    except ValueError:
        position = None
    # Later than now: of another database, from before a restore perhaps.
    if position is None or not event_stream.has_been(position):
        raise InvalidRequest(
            "This is not an id of an event of ours: come again without it.",
            code="last_event_id_invalid",
            pointer=HEADER if header else parameter,
        )
    return position


def _parse_types(params: Mapping[str, str]) -> frozenset[str]:
    if "types" not in params:
        return frozenset()
    types = frozenset(params["types"].split(","))
    if types - set(TYPES):
        refuse_parameter("types", f"These are some of {', '.join(TYPES)}.")
    return types

"""Events in the words of ``text/event-stream``. Pure."""

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from jobs.api.event_stream import EventPosition, StreamedEvent
from workers.webhooks.messages.payloads import format_time, message_id

MEDIA_TYPE = "text/event-stream"
# How long a browser waits before it comes again.
RETRY_MS = 1000


def describe(told: StreamedEvent) -> dict[str, Any]:
    """Return the event as customers are told of it; its id is the webhook's, too."""
    return {
        "id": message_id(told.position.event_id),
        "object": "event",
        "type": told.type,
        "timestamp": format_time(told.at),
        "job_id": told.job_id,
        "batch_id": told.batch_id,
        "status": told.status,
        "data": told.shown,
    }


def format_told(told: StreamedEvent) -> bytes:
    """Return one event of the platform."""
    return format_event(told.type, describe(told), at=told.position)


def format_event(kind: str, data: Any, *, at: EventPosition | None = None) -> bytes:
    """Return an event; with a position, whoever saw it can go on from there."""
    text = json.dumps(data, cls=DjangoJSONEncoder, separators=(",", ":"))
    place = f"id: {at}\n" if at else ""
    return f"{place}event: {kind}\ndata: {text}\n\n".encode()


def format_head(at: EventPosition) -> bytes:
    """Return how a stream begins: also who sees no event knows where to go on."""
    return f"retry: {RETRY_MS}\nid: {at}\n\n".encode()


def format_heartbeat(at: EventPosition) -> bytes:
    """Return what says that the stream is alive, and that all up to here was sent."""
    return f": alive\nid: {at}\n\n".encode()


def format_comment(text: str) -> bytes:
    """Return what programs pass over and people read."""
    return f": {text}\n\n".encode()

"""The ``text/event-stream`` format. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from jobs.api.event_stream import EventPosition, StreamedEvent
from workers.webhooks.messages.payloads import format_time, message_id

MEDIA_TYPE = "text/event-stream"
# How long a browser waits before it reconnects.
RETRY_MS = 1000


def describe(event: StreamedEvent) -> dict[str, Any]:
    """Return the event as JSON values; its id is also the webhook's message ID."""
    return {
        "id": message_id(event.position.event_id),
        "object": "event",
        "type": event.type,
        "timestamp": format_time(event.at),
        "job_id": event.job_id,
        "batch_id": event.batch_id,
        "status": event.status,
        "data": event.shown,
    }


def format_platform_event(event: StreamedEvent) -> bytes:
    """Return an event of the platform with its position."""
    return format_event(event.type, describe(event), at=event.position)


def format_event(kind: str, data: Any, *, at: EventPosition | None = None) -> bytes:
    """Return an event; clients can resume at its position."""
    text = json.dumps(data, cls=DjangoJSONEncoder, separators=(",", ":"))
    position = f"id: {at}\n" if at else ""
    return f"{position}event: {kind}\ndata: {text}\n\n".encode()


def format_head(at: EventPosition) -> bytes:
    """Return the start of a stream, with the position to resume at."""
    return f"retry: {RETRY_MS}\nid: {at}\n\n".encode()


def format_heartbeat(at: EventPosition) -> bytes:
    """Return a heartbeat, with the position up to which all events are sent."""
    return f": alive\nid: {at}\n\n".encode()


def format_comment(text: str) -> bytes:
    """Return a comment, which clients ignore."""
    return f": {text}\n\n".encode()

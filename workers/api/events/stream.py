"""The body of an event stream: missed events, then new ones, then the end.

All errors are reported before the stream starts.
"""

import asyncio
import logging
import weakref
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from jobs.api import event_stream
from jobs.api.event_stream import EventFilters, EventPosition, StreamedEvent
from jobs.egress.addresses import IPAddress
from workers.api.events import sse
from workers.api.events.hub import (
    DATABASE_ERRORS,
    PAGE_ROWS,
    POLL_SECONDS,
    ListenerHub,
    get_hub,
    in_thread,
)
from workers.api.events.listener import CHUNK, EventListener, StreamEnd
from workers.api.events.slots import StreamSlot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStart:
    """The validated parameters of a stream."""

    filters: EventFilters
    after: EventPosition
    key_id: UUID
    address: IPAddress | None
    # The first event of a job's or batch's stream; the only one if that has ended.
    snapshot: bytes = b""
    is_over: bool = False


class EventStreamBody:
    """The response body; releases its slot when it ends, fails or never starts."""

    def __init__(self, start: StreamStart, slot: StreamSlot) -> None:
        self._start, self._slot = start, slot
        weakref.finalize(self, slot.release)  # disconnected before the first byte

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Yield the stream."""
        if not self._slot.start():
            return
        try:
            async with aclosing(follow(self._start)) as parts:
                async for part in parts:
                    yield part
        finally:
            self._slot.release()

    def close(self) -> None:
        """Release the slot; called by Django when it closes the response."""
        self._slot.release()


async def follow(start: StreamStart) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of one stream."""
    yield sse.format_head(start.after) + start.snapshot
    if start.is_over:
        return
    listener = EventListener(
        start.filters,
        after=start.after,
        key_id=start.key_id,
        address=start.address,
    )
    hub = get_hub()
    timer = asyncio.get_running_loop().call_later(
        settings.EVENT_STREAM_SECONDS, listener.finish, StreamEnd.TIME
    )
    hub.join(listener)
    try:
        await listener.is_covered.wait()
        async with aclosing(_follow_events(listener, hub)) as parts:
            async for part in parts:
                yield part
    except DATABASE_ERRORS:
        logger.warning("database unavailable, event stream ended")
    finally:
        timer.cancel()
        hub.leave(listener)
        listener.close()


async def _follow_events(
    listener: EventListener, hub: ListenerHub
) -> AsyncGenerator[bytes, None]:
    """Yield missed and new events, up to the last of a job or batch."""
    async for parts in _read_missed(listener):
        yield _join(parts)
        if _is_last(listener, parts):
            return
    async for parts in _read_new(listener):
        yield (
            _join(parts)
            if parts
            else sse.format_heartbeat(_get_position(listener, hub))
        )
        if parts and _is_last(listener, parts):
            return
    if listener.end is StreamEnd.OVERFLOW:
        yield sse.format_event("overflow", {"reason": "slow"})
    yield sse.format_comment(str(listener.end))


async def _read_missed(
    listener: EventListener,
) -> AsyncGenerator[list[tuple[StreamedEvent, bytes]], None]:
    """Yield the events committed before the hub covered this listener."""
    is_behind = True
    while is_behind and not listener.end:
        page = await in_thread(
            event_stream.read_page,
            tenants={listener.filters.tenant_id},
            job_id=listener.filters.job_id,
            after=listener.position,
            limit=PAGE_ROWS,
        )
        listener.position = page.position
        is_behind = page.is_full or page.position < listener.covered_since
        found = [event for event in page.events if listener.filters.has(event)]
        if is_behind and not page.is_full:
            await asyncio.sleep(POLL_SECONDS)  # older transactions are still open
        for begin in range(0, len(found), CHUNK):
            await asyncio.sleep(0)  # yield to other tasks
            part = found[begin : begin + CHUNK]
            yield [(event, sse.format_platform_event(event)) for event in part]


async def _read_new(
    listener: EventListener,
) -> AsyncGenerator[list[tuple[StreamedEvent, bytes]], None]:
    """Yield the hub's events, and an empty list as a heartbeat."""
    while True:
        if parts := listener.take():
            yield parts
        elif listener.end:
            return
        elif not await listener.wait(settings.EVENT_STREAM_HEARTBEAT_SECONDS):
            yield []


def _join(parts: list[tuple[StreamedEvent, bytes]]) -> bytes:
    return b"".join(encoded for _event, encoded in parts)


def _is_last(listener: EventListener, parts: list[tuple[StreamedEvent, bytes]]) -> bool:
    ends_with = listener.filters.ends_with
    return bool(ends_with) and any(event.type in ends_with for event, _ in parts)


def _get_position(listener: EventListener, hub: ListenerHub) -> EventPosition:
    """Return the position up to which all events are sent."""
    return max(listener.position, hub.position or listener.position)

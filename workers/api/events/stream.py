"""The body of one event stream: what was missed, then what happens, then an end.

Everything that can be refused was refused before: here a stream only ends.
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
    DATABASE_AWAY,
    LOOK_SECONDS,
    PAGE_ROWS,
    ListenerHub,
    get_hub,
    in_thread,
)
from workers.api.events.listener import CHUNK, EventListener, StreamEnd
from workers.api.events.slots import StreamSlot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStart:
    """What a stream begins with, all checked."""

    wanted: EventFilters
    after: EventPosition
    key_id: UUID
    address: IPAddress | None
    # The first event, where the stream is of one thing; nothing more if that has ended.
    snapshot: bytes = b""
    is_over: bool = False


class EventStreamBody:
    """What Django sends: gives its slot back when it ends, breaks or never begins."""

    def __init__(self, opening: StreamStart, slot: StreamSlot) -> None:
        self._opening, self._slot = opening, slot
        weakref.finalize(self, slot.let_go)  # a request cut before its first byte

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Yield the stream."""
        if not self._slot.begin():
            return
        try:
            async with aclosing(follow(self._opening)) as parts:
                async for part in parts:
                    yield part
        finally:
            self._slot.let_go()

    def close(self) -> None:
        """Give the slot back; Django calls it with the response's own."""
        self._slot.let_go()


async def follow(opening: StreamStart) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of one stream."""
    yield sse.format_head(opening.after) + opening.snapshot
    if opening.is_over:
        return
    listener = EventListener(
        opening.wanted,
        after=opening.after,
        key_id=opening.key_id,
        address=opening.address,
    )
    hub = get_hub()
    life = asyncio.get_running_loop().call_later(
        settings.EVENT_STREAM_SECONDS, listener.finish, StreamEnd.TIME
    )
    hub.join(listener)
    try:
        await listener.is_covered.wait()
        async with aclosing(_both(listener, hub)) as parts:
            async for part in parts:
                yield part
    except DATABASE_AWAY:
        logger.warning("database away, event stream ended")
    finally:
        life.cancel()
        hub.leave(listener)
        listener.close()


async def _both(
    listener: EventListener, hub: ListenerHub
) -> AsyncGenerator[bytes, None]:
    """Yield what was missed and what comes, up to the last event of one thing."""
    async for parts in _missed(listener):
        yield _join(parts)
        if _is_last(listener, parts):
            return
    async for parts in _coming(listener):
        yield _join(parts) if parts else sse.format_heartbeat(_reached(listener, hub))
        if parts and _is_last(listener, parts):
            return
    if listener.end is StreamEnd.OVERFLOW:
        yield sse.format_event("overflow", {"reason": "slow"})
    yield sse.format_comment(str(listener.end))


async def _missed(
    listener: EventListener,
) -> AsyncGenerator[list[tuple[StreamedEvent, bytes]], None]:
    """Yield what was committed before the hub looked out for this listener."""
    is_behind = True
    while is_behind and not listener.end:
        page = await in_thread(
            event_stream.read_page,
            tenants={listener.wanted.tenant_id},
            job_id=listener.wanted.job_id,
            after=listener.position,
            limit=PAGE_ROWS,
        )
        listener.position = page.position
        is_behind = page.is_full or page.position < listener.covered_since
        found = [told for told in page.events if listener.wanted.has(told)]
        if is_behind and not page.is_full:
            await asyncio.sleep(LOOK_SECONDS)  # the horizon went back by a little
        for begin in range(0, len(found), CHUNK):
            await asyncio.sleep(0)  # the loop has others to serve
            part = found[begin : begin + CHUNK]
            yield [(told, sse.format_told(told)) for told in part]


async def _coming(
    listener: EventListener,
) -> AsyncGenerator[list[tuple[StreamedEvent, bytes]], None]:
    """Yield what the hub offers, and nothing where nothing came for a while."""
    while True:
        if parts := listener.take():
            yield parts
        elif listener.end:
            return
        elif not await listener.wait(settings.EVENT_STREAM_HEARTBEAT_SECONDS):
            yield []


def _join(parts: list[tuple[StreamedEvent, bytes]]) -> bytes:
    return b"".join(encoded for _told, encoded in parts)


def _is_last(listener: EventListener, parts: list[tuple[StreamedEvent, bytes]]) -> bool:
    ends_with = listener.wanted.ends_with
    return bool(ends_with) and any(told.type in ends_with for told, _ in parts)


def _reached(listener: EventListener, hub: ListenerHub) -> EventPosition:
    """Return up to where nothing is left to be sent."""
    return max(listener.position, hub.position or listener.position)

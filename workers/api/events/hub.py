"""Poll the database once for all event streams of this process.

A task on the event loop reads the new events of all listeners' tenants every
``POLL_SECONDS`` and offers each to the matching listeners. It ends with the last
listener. Polling reads the events of an interval in one query.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from jobs.accounts import authentication
from jobs.api import event_stream
from jobs.api.event_stream import EventPage, EventPosition
from workers.api.events import sse
from workers.api.events.listener import CHUNK, EventListener, StreamEnd

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
PAGE_ROWS = 1000
KEYS_SECONDS = 30.0
SCOPE = "jobs:read"
DATABASE_ERRORS = (DatabaseError, InterfaceError)
# Bounded, so that many starting streams do not use all database connections.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="events")

Params = ParamSpec("Params")
Result = TypeVar("Result")


class ListenerHub:
    """The listeners of one event loop, and the task that polls for them."""

    def __init__(self) -> None:
        self._listeners: set[EventListener] = set()
        self._task: asyncio.Task[None] | None = None
        self._wake_up = asyncio.Event()
        self._keys_checked_until = 0.0
        self._is_behind = self._is_shut_down = False
        # Covered listeners were offered all events up to it; None without listeners.
        self.position: EventPosition | None = None

    def join(self, listener: EventListener) -> None:
        """Add a listener; it is covered from the next poll on."""
        self._listeners.add(listener)
        if self._is_shut_down:
            listener.finish(StreamEnd.SHUTDOWN)
        self._wake_up.set()
        if self._task is None:
            self._keys_checked_until = asyncio.get_running_loop().time() + KEYS_SECONDS
            self._task = asyncio.get_running_loop().create_task(self._run())

    def leave(self, listener: EventListener) -> None:
        """Remove a listener."""
        self._listeners.discard(listener)

    def shut_down(self) -> None:
        """End all streams, also new ones."""
        self._is_shut_down = True
        for listener in self._listeners:
            listener.finish(StreamEnd.SHUTDOWN)

    async def _run(self) -> None:
        try:
            while self._listeners:
                await self._poll()
        finally:
            self._task = self.position = None

    async def _poll(self) -> None:
        self._wake_up.clear()
        try:
            await self._read_new()
            await self._check_keys()
        except DATABASE_ERRORS:
            logger.warning("database unavailable, events delayed")
            await asyncio.sleep(POLL_SECONDS)
        if self._is_behind:
            return
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake_up.wait()
        except TimeoutError:
            pass

    async def _read_new(self) -> None:
        """Read new events; listeners added before are covered from then on."""
        listeners, since = list(self._listeners), self.position
        if since is None:
            self.position = since = await in_thread(event_stream.read_horizon)
        else:
            page = await in_thread(
                event_stream.read_page,
                tenants={listener.filters.tenant_id for listener in listeners},
                after=since,
                limit=PAGE_ROWS,
            )
            await self._distribute(page)
            self.position, self._is_behind = page.position, page.is_full
        for listener in listeners:
            listener.cover(since)

    async def _distribute(self, page: EventPage) -> None:
        by_tenant: dict[UUID, list[EventListener]] = defaultdict(list)
        for listener in self._listeners if page.events else ():
            by_tenant[listener.filters.tenant_id].append(listener)
        for number, event in enumerate(page.events, start=1):
            if number % CHUNK == 0:  # yield to other tasks
                await asyncio.sleep(0)
            matching = [
                it for it in by_tenant[event.tenant_id] if it.filters.has(event)
            ]
            encoded = sse.format_platform_event(event) if matching else b""  # once
            for listener in matching:
                listener.offer(event, encoded)

    async def _check_keys(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._keys_checked_until:
            return
        listeners = list(self._listeners)
        usable = await in_thread(
            authentication.find_usable,
            {(listener.key_id, listener.address) for listener in listeners},
            scope=SCOPE,
            now=timezone.now(),
        )
        self._keys_checked_until = now + KEYS_SECONDS
        for listener in listeners:
            if (listener.key_id, listener.address) not in usable:
                listener.finish(StreamEnd.KEY)


async def in_thread(
    function: Callable[Params, Result], *args: Params.args, **named: Params.kwargs
) -> Result:
    """Call the function in a thread, then close its database connection."""

    def call() -> Result:
        try:
            return function(*args, **named)
        finally:
            connection.close()

    return await sync_to_async(call, thread_sensitive=False, executor=_threads)()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, ListenerHub] = WeakKeyDictionary()


def get_hub() -> ListenerHub:
    """Return the hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), ListenerHub())

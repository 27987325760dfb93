"""One look at the database for all who listen in this process.

A task of the event loop: it reads the new events of all tenants that somebody listens
to, every ``LOOK_SECONDS``, and hands each to those who want it. It ends with the last
listener. What is committed between two looks is one read; no wake-up would spare it.
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

LOOK_SECONDS = 0.1
PAGE_ROWS = 1000
KEYS_SECONDS = 30.0
SCOPE = "jobs:read"
DATABASE_AWAY = (DatabaseError, InterfaceError)
# So that many who come at once do not take all connections of the process.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="events")

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


class ListenerHub:
    """Those who listen on one event loop, and the task that looks for them."""

    def __init__(self) -> None:
        self._listeners: set[EventListener] = set()
        self._task: asyncio.Task[None] | None = None
        self._poke = asyncio.Event()
        self._keys_at = 0.0
        self._is_behind = self._is_shut = False
        # All before it was offered to whoever is covered; None while nobody listens.
        self.position: EventPosition | None = None

    def join(self, listener: EventListener) -> None:
        """Have events offered to the listener, once it is covered without a gap."""
        self._listeners.add(listener)
        if self._is_shut:
            listener.finish(StreamEnd.SHUTDOWN)
        self._poke.set()
        if self._task is None:
            self._keys_at = asyncio.get_running_loop().time() + KEYS_SECONDS
            self._task = asyncio.get_running_loop().create_task(self._run())

    def leave(self, listener: EventListener) -> None:
        """Offer nothing more."""
        self._listeners.discard(listener)

    def shut_down(self) -> None:
        """End every stream, and those that still come."""
        self._is_shut = True
        for listener in self._listeners:
            listener.finish(StreamEnd.SHUTDOWN)

    async def _run(self) -> None:
        try:
            while self._listeners:
                await self._round()
        finally:
            self._task = self.position = None

    async def _round(self) -> None:
        self._poke.clear()
        try:
            await self._look()
            await self._check_keys()
        except DATABASE_AWAY:
            logger.warning("database away, listening on")
            await asyncio.sleep(LOOK_SECONDS)
        if self._is_behind:
            return
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._poke.wait()
        except TimeoutError:
            pass

    async def _look(self) -> None:
        """Read what is new; who was there before is covered from then on."""
        here, since = list(self._listeners), self.position
        if since is None:
            self.position = since = await in_thread(event_stream.read_horizon)
        else:
            page = await in_thread(
                event_stream.read_page,
                tenants={each.wanted.tenant_id for each in here},
                after=since,
                limit=PAGE_ROWS,
            )
            await self._hand_out(page)
            self.position, self._is_behind = page.position, page.is_full
        for listener in here:
            listener.cover(since)

    async def _hand_out(self, page: EventPage) -> None:
        by_tenant: dict[UUID, list[EventListener]] = defaultdict(list)
        for listener in self._listeners if page.events else ():
            by_tenant[listener.wanted.tenant_id].append(listener)
        for number, told in enumerate(page.events, start=1):
            if number % CHUNK == 0:  # the loop has others to serve
                await asyncio.sleep(0)
            wanting = [it for it in by_tenant[told.tenant_id] if it.wanted.has(told)]
            encoded = sse.format_told(told) if wanting else b""  # once for all of them
            for listener in wanting:
                listener.offer(told, encoded)

    async def _check_keys(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._keys_at:
            return
        here = list(self._listeners)
        usable = await in_thread(
            authentication.find_usable,
            {(each.key_id, each.address) for each in here},
            scope=SCOPE,
            now=timezone.now(),
        )
        self._keys_at = now + KEYS_SECONDS
        for listener in here:
            if (listener.key_id, listener.address) not in usable:
                listener.finish(StreamEnd.KEY)


async def in_thread(
    function: Callable[Asked, Answer], *args: Asked.args, **named: Asked.kwargs
) -> Answer:
    """Ask the database beside the event loop, and give the connection back."""

    def ask() -> Answer:
        try:
            return function(*args, **named)
        finally:
            connection.close()

    return await sync_to_async(ask, thread_sensitive=False, executor=_threads)()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, ListenerHub] = WeakKeyDictionary()


def get_hub() -> ListenerHub:
    """Return the hub of this event loop; a process has one."""
    return _hubs.setdefault(asyncio.get_running_loop(), ListenerHub())

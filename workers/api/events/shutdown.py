"""End the streams when the process is told to stop.

The server waits for open answers before it tells the application that it stops
(``lifespan.shutdown``), so a stream would hold it for as long as the stream lives.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from django.conf import settings

from workers.api.events.hub import get_hub
from workers.liveness import graceful_shutdown


def end_streams_at_sigterm(*others: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Hear the server's signals first; it gets each of them once the others are done.

    The server waits for streams and not for sockets: the others end those. A second
    signal waits for nobody. Call it on the event loop, after the server has set its own
    handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # where no signals arrive
    loop, hub = asyncio.get_running_loop(), get_hub()
    stopping: list[asyncio.Task[None]] = []

    async def stop(go_on: Callable[[], object]) -> None:
        graceful_shutdown.begin()
        await asyncio.sleep(settings.DRAIN_SECONDS)
        hub.shut_down()
        try:
            await asyncio.gather(*(other() for other in others))
        finally:
            go_on()

    def begin(go_on: Callable[[], object]) -> None:
        if stopping:
            go_on()
        else:
            stopping.append(loop.create_task(stop(go_on)))

    for number in (signal.SIGTERM, signal.SIGINT):
        go_on = _find_servers_own(loop, number)
        loop.add_signal_handler(number, begin, go_on)


def _find_servers_own(
    loop: asyncio.AbstractEventLoop, number: signal.Signals
) -> Callable[[], object]:
    """Return what the server does at a signal, which must not happen yet.

    It asked the loop to call it, and the loop tells nobody whom it calls.
    """
    # https://github.com/python/cpython/blob/v3.11.7/Lib/asyncio/unix_events.py#L65
    handles = getattr(loop, "_signal_handlers", {})
    if handle := handles.get(number):
        return partial(handle._callback, *handle._args)  # noqa: SLF001
    before = signal.getsignal(number)
    return partial(before, number, None) if callable(before) else int

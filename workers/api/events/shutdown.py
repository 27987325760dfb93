"""End event streams at SIGTERM.

granian waits for open responses before it sends ``lifespan.shutdown``, so an open
stream would delay the shutdown until the stream ends.
https://github.com/emmett-framework/granian/issues/547
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
    """Handle signals before the server: drain, end streams, then call its handler.

    ``others`` are awaited before: the server does not wait for WebSockets. A second
    signal calls the server's handler at once. Call this on the event loop, after the
    server set its handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # where no signals arrive
    loop, hub = asyncio.get_running_loop(), get_hub()
    stopping: list[asyncio.Task[None]] = []

    async def stop(server_handler: Callable[[], object]) -> None:
        graceful_shutdown.start_draining()
        await asyncio.sleep(settings.DRAIN_SECONDS)
        hub.shut_down()
        try:
            await asyncio.gather(*(other() for other in others))
        finally:
            server_handler()

    def begin(server_handler: Callable[[], object]) -> None:
        if stopping:
            server_handler()
        else:
            stopping.append(loop.create_task(stop(server_handler)))

    for number in (signal.SIGTERM, signal.SIGINT):
        server_handler = _get_server_handler(loop, number)
        loop.add_signal_handler(number, begin, server_handler)


def _get_server_handler(
    loop: asyncio.AbstractEventLoop, number: signal.Signals
) -> Callable[[], object]:
    """Return the server's handler of a signal, as it registered it with the loop.

    asyncio has no public access to it.
    https://github.com/python/cpython/blob/v3.11.7/Lib/asyncio/unix_events.py#L88-L110
    """
    handles = getattr(loop, "_signal_handlers", {})
    if handle := handles.get(number):
        return partial(handle._callback, *handle._args)  # noqa: SLF001
    before = signal.getsignal(number)
    return partial(before, number, None) if callable(before) else int

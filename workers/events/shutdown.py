"""End the streams when the process is told to stop.

The server waits for open answers before it tells the application that it stops
(``lifespan.shutdown``), so a stream would hold it for as long as the stream lives.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

from workers.events.hub import get_hub


def end_streams_at_sigterm(*others: Callable[[], None]) -> None:
    """Listen to the server's signals as well; it still gets each of them.

    The others are called for what else is open here.

    Call it on the event loop, after the server has set its own handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # where no signals arrive
    loop, hub = asyncio.get_running_loop(), get_hub()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def end(signum: int, frame: FrameType | None, before: object = before) -> None:
            for shut_down in (hub.shut_down, *others):
                loop.call_soon_threadsafe(shut_down)
            if callable(before):
                before(signum, frame)

        signal.signal(number, end)
        signal.siginterrupt(number, False)  # noqa: FBT003  as asyncio has it

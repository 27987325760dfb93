"""Ask the database beside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connection

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")
# So that many sessions which begin at once do not take all connections of the process.
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="live")
_ending = ThreadPoolExecutor(max_workers=8, thread_name_prefix="live-end")
# One at a time: each busy thread makes the event loop wait for the interpreter, and who
# ends is in less of a hurry than who is still speaking. Who takes longer than this is
# waiting for storage or database, and in nobody's way.
_turn = asyncio.Semaphore(1)
TURN_SECONDS = 0.05


async def in_thread(
    function: Callable[Asked, Answer], *args: Asked.args, **named: Asked.kwargs
) -> Answer:
    """Call it in a thread, and give the connection back."""
    return await _ask(_threads, partial(function, *args, **named))


async def in_ending_thread(
    function: Callable[Asked, Answer], *args: Asked.args, **named: Asked.kwargs
) -> Answer:
    """Do as ``in_thread``, with what a session's end costs."""
    async with _turn:
        asked = asyncio.ensure_future(_ask(_ending, partial(function, *args, **named)))
        await asyncio.wait([asked], timeout=TURN_SECONDS)
    return await asked


async def _ask(threads: ThreadPoolExecutor, function: Callable[[], Answer]) -> Answer:
    def ask() -> Answer:
        try:
            return function()
        finally:
            connection.close()

    return await sync_to_async(ask, thread_sensitive=False, executor=threads)()


async def in_thread_to_its_end(
    function: Callable[Asked, Answer], *args: Asked.args, **named: Asked.kwargs
) -> Answer:
    """Call it in a thread; a cancel comes only after what it does is done.

    A thread cannot be stopped: whoever goes on without it does not know what it did.
    """
    asked = asyncio.ensure_future(in_thread(function, *args, **named))
    try:
        return await asyncio.shield(asked)
    except asyncio.CancelledError:
        await asyncio.wait([asked])
        if not asked.cancelled():
            asked.exception()  # seen, and of no use any more
        raise

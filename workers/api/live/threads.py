"""Run database calls in threads, outside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connection

Params = ParamSpec("Params")
Result = TypeVar("Result")
# Bounded, so that many starting sessions do not use all database connections.
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="live")
_ending = ThreadPoolExecutor(max_workers=8, thread_name_prefix="live-end")
# Sessions end one at a time: each busy thread delays the event loop (the GIL) and so
# the sessions that still stream. After this time the next one starts, because a slower
# call waits for storage or database and does not use the CPU.
_end_lock = asyncio.Semaphore(1)
END_INTERVAL_SECONDS = 0.05


async def in_thread(
    function: Callable[Params, Result], *args: Params.args, **named: Params.kwargs
) -> Result:
    """Call the function in a thread, then close its database connection."""
    return await _run(_threads, partial(function, *args, **named))


async def in_closing_thread(
    function: Callable[Params, Result], *args: Params.args, **named: Params.kwargs
) -> Result:
    """Call the function in a thread, for the end of a session."""
    async with _end_lock:
        call = asyncio.ensure_future(_run(_ending, partial(function, *args, **named)))
        await asyncio.wait([call], timeout=END_INTERVAL_SECONDS)
    return await call


async def _run(threads: ThreadPoolExecutor, function: Callable[[], Result]) -> Result:
    def call() -> Result:
        try:
            return function()
        finally:
            connection.close()

    return await sync_to_async(call, thread_sensitive=False, executor=threads)()


async def in_thread_to_its_end(
    function: Callable[Params, Result], *args: Params.args, **named: Params.kwargs
) -> Result:
    """Call the function in a thread; delay a cancellation until the call ends.

    A thread cannot be stopped, and the caller must know the result of its writes.
    """
    call = asyncio.ensure_future(in_thread(function, *args, **named))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        if not call.cancelled():
            call.exception()  # mark as retrieved
        raise

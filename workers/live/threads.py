"""Ask the database beside the event loop."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connection

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")
# So that many sessions which end at once do not take all connections of the process.
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="live")


async def in_thread(
    function: Callable[Asked, Answer], *args: Asked.args, **named: Asked.kwargs
) -> Answer:
    """Call it in a thread, and give the connection back."""

    def ask() -> Answer:
        try:
            return function(*args, **named)
        finally:
            connection.close()

    return await sync_to_async(ask, thread_sensitive=False, executor=_threads)()

"""A decorator that caches the result of a read for some seconds."""

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any


def cached(
    seconds: float, *, is_complete: Callable[[Any], bool] = lambda _: True
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Cache the result for some seconds; its ``forget()`` clears the cache.

    Incomplete results are not cached.
    """

    def decorate(read: Callable[[], Any]) -> Callable[[], Any]:
        last: list[Any] = [0.0, None]
        lock = threading.Lock()

        @wraps(read)
        def read_cached() -> Any:
            with lock:
                if time.monotonic() >= last[0] or not is_complete(last[1]):
                    last[:] = [time.monotonic() + seconds, read()]
                return last[1]

        read_cached.forget = lambda: last.__setitem__(0, 0.0)  # type: ignore[attr-defined]
        return read_cached

    return decorate

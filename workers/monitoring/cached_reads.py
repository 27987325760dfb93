"""Answer from what was read a moment ago, however many look."""

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any


def kept(
    seconds: float, *, is_whole: Callable[[Any], bool] = lambda _: True
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Read anew only so often; ``forget`` of the result reads at the next call.

    What is not whole is not kept.
    """

    def keeping(read: Callable[[], Any]) -> Callable[[], Any]:
        last: list[Any] = [0.0, None]
        lock = threading.Lock()

        @wraps(read)
        def answer() -> Any:
            with lock:
                if time.monotonic() >= last[0] or not is_whole(last[1]):
                    last[:] = [time.monotonic() + seconds, read()]
                return last[1]

        answer.forget = lambda: last.__setitem__(0, 0.0)  # type: ignore[attr-defined]
        return answer

    return keeping

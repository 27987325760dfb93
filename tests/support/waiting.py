"""Wait on a condition."""

import time
from collections.abc import Callable
from typing import Any


def eventually(is_true: Callable[[], Any], seconds: float = 5) -> None:
    """Return as soon as it is true; fail when the time is over."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)

"""Wait on a condition."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def eventually(is_true: Callable[[], Any], seconds: float = 5) -> None:
    """Return as soon as it is true; fail when the time is over."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def port_is_open(port: int) -> bool:
    """Return whether a loopback port accepts connections."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False

"""A web process that is told to stop: for a while it says so, and serves on.

Load balancers look every few seconds; until they have seen it, requests still come.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings

_told = threading.Event()


def begin() -> None:
    """Be not ready from now on."""
    _told.set()


def is_draining() -> bool:
    """Tell whether the process is about to stop."""
    return _told.is_set()


def hear_granian_first() -> None:
    """Have granian's WSGI worker stop ``DRAIN_SECONDS`` after it is told to.

    It sets its handlers once it has loaded the application, by a function of its own
    that a test holds. The thread they run in does nothing but wait. (For ASGI, see
    ``workers.api.events.shutdown``.)
    """
    # https://github.com/emmett-framework/granian/blob/v2.8.7/granian/_signals.py#L14
    granian: Any = sys.modules.get("granian._signals")
    if granian is None:
        return
    theirs = granian.set_main_signals

    def ours(handler: Callable[..., Any], reload_handler: Any = None) -> None:
        theirs(partial(_stop_late, handler), reload_handler)

    granian.set_main_signals = ours


def _stop_late(stop: Callable[..., Any], *signal_: Any) -> None:
    """Stop in a while; a second signal waits for nothing."""
    if not is_draining() and signal_[0] == signal.SIGTERM:
        begin()
        time.sleep(settings.DRAIN_SECONDS)
    stop(*signal_)

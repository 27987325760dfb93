"""Graceful shutdown: report not ready for DRAIN_SECONDS and keep serving.

Load balancers poll readiness every few seconds and send requests until it fails.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings

_draining = threading.Event()


def start_draining() -> None:
    """Report not ready from now on."""
    _draining.set()


def is_draining() -> bool:
    """Return whether the process is shutting down."""
    return _draining.is_set()


def delay_granian_shutdown() -> None:
    """Delay the shutdown of granian's WSGI worker by DRAIN_SECONDS after SIGTERM.

    Wraps granian's private function that sets its signal handlers after it loaded the
    application; a test covers it. The handlers run in the main thread, which only
    waits. For ASGI see ``workers.api.events.shutdown``.
    https://github.com/emmett-framework/granian/blob/v2.8.7/granian/_signals.py#L14
    https://github.com/emmett-framework/granian/issues/547
    """
    signals: Any = sys.modules.get("granian._signals")
    if signals is None:
        return
    set_main_signals = signals.set_main_signals

    def set_delayed(handler: Callable[..., Any], reload_handler: Any = None) -> None:
        set_main_signals(partial(_stop_later, handler), reload_handler)

    signals.set_main_signals = set_delayed


def _stop_later(stop: Callable[..., Any], *args: Any) -> None:
    """Drain, then call granian's handler; a second signal stops at once."""
    if not is_draining() and args[0] == signal.SIGTERM:
        start_draining()
        time.sleep(settings.DRAIN_SECONDS)
    stop(*args)

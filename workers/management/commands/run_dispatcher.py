"""`manage.py run_dispatcher`: claim runnable jobs and send them, every 100 ms."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from workers.liveness import startup
from workers.monitoring import exposition
from workers.monitoring.shared import SharedState
from workers.queue import dispatcher


class Command(BaseCommand):
    """Run the dispatcher's loop until SIGTERM; two copies make a standby."""

    help = __doc__
    requires_system_checks = []  # they load every route and page

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the one option."""
        parser.add_argument("--region", help="serve only this region")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run ticks until SIGTERM or SIGINT."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        exposition.expose(SharedState())
        startup.freeze_startup_objects()
        dispatcher.run(stop=stop, only_region=options["region"])

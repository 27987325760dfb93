"""Prepare a restored database; run once after pg_restore, before the platform."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jobs.retention import restoring


class Command(BaseCommand):
    """Prepare a restored database. Idempotent."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--although-alive",
            action="store_true",
            help="ignore recent heartbeats, which a dump made seconds ago contains",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Raise CommandError if processes run: their event streams would break."""
        processes = restoring.find_live_processes(now=timezone.now())
        if processes and not options["although_alive"]:
            names = ", ".join(processes)
            message = f"These processes use this database: {names}. Stop them first."
            raise CommandError(message)
        restoring.delete_process_rows()
        events = restoring.reset_positions()
        self.stdout.write(f"transaction ids of {events} events reset")

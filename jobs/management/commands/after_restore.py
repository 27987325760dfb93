"""`manage.py after_restore`: once, after pg_restore and before anything is started."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jobs.retention import restoring


class Command(BaseCommand):
    """Make a restored database fit to run; running it twice changes nothing more."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare how to go on although processes seem to live."""
        parser.add_argument(
            "--although-alive",
            action="store_true",
            help="the dump was made seconds ago, and nothing runs on the restored copy",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Refuse where the platform runs: event streams would jump back."""
        living = restoring.find_living(now=timezone.now())
        if living and not options["although_alive"]:
            names = ", ".join(living)
            message = f"These work on this database: {names}. Stop them first."
            raise CommandError(message)
        restoring.forget_processes()
        events = restoring.reset_positions()
        self.stdout.write(f"{events} events lie before everything to come")

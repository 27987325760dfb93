"""Compare the quota counters with jobs and attempts."""

from argparse import SUPPRESS, ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jobs.quotas import counters as quota_counters


class Command(BaseCommand):
    """Print differences and fail if there are any; ``--repair`` repairs them."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--repair", action="store_true", help="repair the counters")
        # The old name of the option.
        parser.add_argument("--mend", action="store_true", dest="repair", help=SUPPRESS)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Compare, and repair if requested."""
        run = (
            quota_counters.repair_all if options["repair"] else quota_counters.find_all
        )
        differing = 0
        for tenant, count in run(now=timezone.now()):
            used, reserved = count.drift
            self.stdout.write(
                f"{tenant.name} {count.period}: used {used:+}, reserved {reserved:+}"
            )
            differing += 1
        if differing and not options["repair"]:
            raise CommandError(f"{differing} counters differ; --repair repairs them.")

"""`manage.py check_quotas`: hold the quota counters against jobs and ledger."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jobs.quotas import counters as quota_counts


class Command(BaseCommand):
    """Say what differs and fail if anything does; mend it where asked to."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the one option."""
        parser.add_argument("--mend", action="store_true")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it."""
        look = quota_counts.repair_all if options["mend"] else quota_counts.find_all
        differing = 0
        for tenant, count in look(now=timezone.now()):
            used, reserved = count.drift
            self.stdout.write(
                f"{tenant.name} {count.period}: used {used:+}, reserved {reserved:+}"
            )
            differing += 1
        if differing and not options["mend"]:
            raise CommandError(f"{differing} counters differ; --mend puts them right.")

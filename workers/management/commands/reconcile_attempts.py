"""`manage.py reconcile_attempts`: query Deepgram for the results of unknown calls."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

import httpx
from deepgram.core.api_error import ApiError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jobs.models import Region
from workers.deepgram import reconcile


class Command(BaseCommand):
    """Close unknown attempts with the results in Deepgram's request log."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the option."""
        parser.add_argument("--days", type=int, default=7)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Reconcile every region; fail if one is unreachable."""
        now = timezone.now()
        since = now - timedelta(days=options["days"])
        unreachable = []
        for region in Region.objects.order_by("name"):
            try:
                closed = reconcile.reconcile_region(region, now=now, since=since)
            except (ApiError, httpx.HTTPError) as error:
                unreachable.append(f"{region.name} ({type(error).__name__})")
                continue
            self.stdout.write(f"{region.name}: {closed} unknown attempts closed")
        if unreachable:
            message = f"Unreachable: {', '.join(unreachable)}"
            raise CommandError(message)

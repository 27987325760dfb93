"""`manage.py reconcile_attempts`: ask Deepgram how unknown calls ended."""

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
    """Close unknown attempts by Deepgram's own log of requests."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare how far back to look."""
        parser.add_argument("--days", type=int, default=7)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Reconcile every region; one that cannot be asked fails the command."""
        now = timezone.now()
        since = now - timedelta(days=options["days"])
        unasked = []
        for region in Region.objects.order_by("name"):
            try:
                closed = reconcile.reconcile_region(region, now=now, since=since)
            except (ApiError, httpx.HTTPError) as error:
                unasked.append(f"{region.name} ({type(error).__name__})")
                continue
            self.stdout.write(f"{region.name}: {closed} unknown attempts closed")
        if unasked:
            message = f"Could not be asked: {', '.join(unasked)}"
            raise CommandError(message)

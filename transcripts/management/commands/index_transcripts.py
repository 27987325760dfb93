"""`manage.py index_transcripts`: make older transcripts searchable at once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from transcripts.search import backlog as index_backlog


class Command(BaseCommand):
    """Index what was stored without; beat does the same, a few thousand a minute."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare how many."""
        parser.add_argument("--limit", type=int, default=10**9)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it; once more after a kill goes on where that was."""
        indexed = index_backlog.index_left_over(limit=options["limit"])
        self.stdout.write(f"{indexed} transcripts indexed")

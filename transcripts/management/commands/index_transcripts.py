"""`manage.py index_transcripts`: index transcripts of versions before search."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from transcripts.search import backlog as index_backlog


class Command(BaseCommand):
    """Index all unindexed transcripts at once; a periodic task does so gradually."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare ``--limit``."""
        parser.add_argument("--limit", type=int, default=10**9)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Index; an interrupted run can be repeated."""
        indexed = index_backlog.index_unindexed(limit=options["limit"])
        self.stdout.write(f"{indexed} transcripts indexed")

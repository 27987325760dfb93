"""`manage.py state_diagram`: draw ``docs/states.md`` from the table in jobs.state."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from jobs.state import ALLOWED_MOVES, FINAL, JobStatus


def build_page() -> str:
    """Return the page: a Mermaid diagram and what the statuses mean."""
    lines = [
        "# Statuses of a job",
        "",
        "Drawn by `manage.py state_diagram` from `jobs/state.py`; do not edit.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {JobStatus.QUEUED}",
    ]
    for status, moves in ALLOWED_MOVES.items():
        lines += [f"    {status} --> {to}" for to in sorted(moves)]
    lines += [f"    {status} --> [*]" for status in sorted(FINAL)]
    lines += [
        "```",
        "",
        "Waiting to retry is `queued` with a later `run_at`. `processing` means",
        "claimed; the call has begun once `started_at` is set. Final is final:",
        "retrying a final job makes a new one (`retry_of`).",
        "",
    ]
    return "\n".join(lines)


class Command(BaseCommand):
    """Write the page, or with --check say whether it is stale."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the one option."""
        parser.add_argument("--check", action="store_true")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write or compare."""
        page = Path(settings.BASE_DIR) / "docs" / "states.md"
        if options["check"]:
            if not page.exists() or page.read_text() != build_page():
                message = "docs/states.md is stale: run `manage.py state_diagram`."
                raise CommandError(message)
            return
        page.write_text(build_page())

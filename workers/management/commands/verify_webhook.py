"""`manage.py verify_webhook`: check a webhook's signature as a receiver should."""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from workers.webhooks.messages import signing

SECRET_VARIABLE = "WEBHOOK_SECRET"  # noqa: S105  the name, not a secret


class Command(BaseCommand):
    """Print ok, or the reason and exit with 1. Uses neither database nor network."""

    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the three headers, the secret and the body."""
        parser.add_argument("body", nargs="?", help="a file; standard input if none")
        parser.add_argument("--id", required=True, help="webhook-id")
        parser.add_argument("--timestamp", required=True, help="webhook-timestamp")
        parser.add_argument("--signature", required=True, help="webhook-signature")
        parser.add_argument(
            "--secret",
            default=os.environ.get(SECRET_VARIABLE),
            help=f"whsec_…; in {SECRET_VARIABLE} no process list shows it",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Check the exact bytes, which a JSON parser would not keep."""
        if not options["secret"]:
            raise CommandError(f"Give --secret, or set {SECRET_VARIABLE}.")
        path = options["body"]
        names = ("id", "timestamp", "signature")
        try:
            signing.verify(
                headers={f"webhook-{name}": options[name] for name in names},
                body=Path(path).read_bytes() if path else sys.stdin.buffer.read(),
                secret=options["secret"],
                now=timezone.now(),
            )
        except signing.InvalidSignature as error:
            raise CommandError(f"not valid: {error}") from None
        self.stdout.write("ok")

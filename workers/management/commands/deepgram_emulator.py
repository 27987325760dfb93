"""Run the Deepgram emulator; the same as `python -m workers.emulator`."""

import argparse
from typing import Any

from django.core.management import base

from workers.emulator import cli, config, server


class Command(base.BaseCommand):
    """Start the emulator in this process."""

    help = "Run a Deepgram-compatible server for tests, load and the demo."
    # The emulator uses nothing of the platform, not even the database.
    requires_system_checks = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the emulator's arguments."""
        cli.add_arguments(parser)

    def handle(self, *_args: str, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT."""
        try:
            settings = cli.read_config(options)
        except config.InvalidTuning as error:
            raise base.CommandError(str(error)) from error
        server.run(settings)

"""`manage.py run_demo`: real speech through the whole platform, with a verdict."""

import shutil
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from workers.demo import scenario
from workers.demo.board import ProgressBoard
from workers.demo.client import Client, UnexpectedResponse
from workers.demo.receiver import Inbox, listening
from workers.demo.submission import find_failed_checks, submissions
from workers.embedded import run
from workers.embedded.binaries import scratch_folder
from workers.embedded.plan import Options
from workers.embedded.processes import EmbeddedError
from workers.embedded.supervisor import StopRequested
from workers.embedded.view import View


class Command(BaseCommand):
    """Start the platform in a new folder, run the scenario, stop it.

    Exits with 0 only if all checks pass. Reads no settings, like `run_platform`.
    """

    help = __doc__
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Run the scenario; keep the folder with the logs if it fails."""
        began = time.monotonic()
        console = Console()
        folder = scratch_folder("transcribe-demo-")
        try:
            broken = _play(folder, console)
        except StopRequested:
            shutil.rmtree(folder, ignore_errors=True)
            raise CommandError("stopped", returncode=130) from None
        except (EmbeddedError, UnexpectedResponse) as error:
            raise CommandError(f"{error}\nLogs: {folder}/log") from error
        console.print(f"\n{time.monotonic() - began:.0f} s in all", highlight=False)
        if broken:
            raise CommandError(f"Some checks failed. Logs: {folder}/log")
        shutil.rmtree(folder, ignore_errors=True)
        console.print("All checks passed.")


def _play(folder: Path, console: Console) -> list[str]:
    inbox = Inbox()
    with listening(inbox) as receiver:
        options = Options(
            data_dir=folder,
            durable=False,
            settings={
                "EGRESS_ALLOW": receiver.removeprefix("http://"),
                "BACKOFF_BASE_SECONDS": "0.5",  # keeps the two 503s short
            },
        )
        view = View(console)
        with run.running(options, view) as platform:
            view.close()
            inbox.secret = platform.webhook_secret
            sent = submissions()
            with (
                Client(platform.plan.web, platform.api_key, receiver) as client,
                ProgressBoard(console, sent).shown() as board,
            ):
                refusal = scenario.play(
                    client,
                    sent=sent,
                    inbox=inbox,
                    board=board,
                    supervisor=platform.supervisor,
                )
            broken = find_failed_checks(sent, broken_file_code=refusal)
            board.report(refusal=refusal, failed_checks=broken)
            return broken

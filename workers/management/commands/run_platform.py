"""`manage.py run_platform`: the whole platform on this machine, until Ctrl-C."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from workers.embedded import run
from workers.embedded.plan import Options
from workers.embedded.processes import EmbeddedError
from workers.embedded.supervisor import StopRequested
from workers.embedded.view import View


class Command(BaseCommand):
    """Start PostgreSQL, Valkey and all processes of the platform; restart them on exit.

    Reads no settings: it creates the environment that defines them.
    """

    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; all else comes from the environment."""
        parser.add_argument("--data-dir", type=Path, default=Path("var"))
        parser.add_argument("--port", type=int, default=8000, help="else a free port")
        parser.add_argument(
            "--ready-file", type=Path, help="JSON file to write when ready"
        )
        parser.add_argument("--lease-seconds", type=float, help="LEASE_SECONDS")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run until SIGINT or SIGTERM."""
        console = Console()
        lease = options["lease_seconds"]
        chosen = Options(
            data_dir=options["data_dir"].resolve(),
            port=options["port"],
            ready_file=options["ready_file"],
            settings={"LEASE_SECONDS": str(lease)} if lease else {},
        )
        try:
            with run.running(chosen, View(console)) as platform:
                console.print(_greeting(platform), highlight=False, soft_wrap=True)
                platform.serve()
        except StopRequested:
            console.print("stopped")
        except EmbeddedError as error:
            raise CommandError(str(error)) from error


def _greeting(platform: run.Platform) -> str:
    plan = platform.plan
    engine = f"emulator at {plan.emulator}" if plan.emulator else "Deepgram"
    return f"""
  Console   {plan.web}/console/#key={platform.api_key}
  API       {plan.web}/v1/   (Authorization: Bearer {platform.api_key})
  Flower    {plan.flower}   ({plan.flower_login})
  Upstream  {engine}
  Webhooks  signed with {platform.webhook_secret}
  Manage    {plan.options.script} create_operator NAME --role operator   (then /admin/)
  Logs      {plan.options.logs}
"""

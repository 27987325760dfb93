"""`manage.py run_regions`: three regions on this machine, HAProxy in front."""

from argparse import ArgumentParser
from contextlib import closing
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from workers.embedded import regions
from workers.embedded.plan import Options
from workers.embedded.processes import EmbeddedError
from workers.embedded.supervisor import StopRequested
from workers.embedded.view import View


class Command(BaseCommand):
    """Start PostgreSQL, three regions and HAProxy; restart processes on exit.

    Reads no settings: it creates the environment that defines them. The upstreams are
    always emulators.
    """

    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--data-dir", type=Path, default=Path("var/regions"))
        parser.add_argument("--port", type=int, default=8100, help="else a free port")
        parser.add_argument("--ready-file", type=Path, help="JSON, once ready")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run until SIGINT or SIGTERM."""
        console = Console()
        chosen = Options(
            data_dir=options["data_dir"].resolve(),
            port=options["port"],
            ready_file=options["ready_file"],
        )
        view = View(console)
        try:
            with (
                closing(view),
                regions.running(
                    chosen, regions.RegionsShape(), show=view.show
                ) as running,
            ):
                console.print(_greeting(running), highlight=False, soft_wrap=True)
                running.supervisor.run()
        except StopRequested:
            console.print("stopped")
        except EmbeddedError as error:
            raise CommandError(str(error)) from error


def _greeting(running: regions.Regions) -> str:
    layout = running.layout
    web_processes = "\n".join(
        f"  {name:<10}{plan.web}   upstream {plan.emulator}"
        for name, plan in layout.plans.items()
    )
    return f"""
  Front     {layout.front}/v1/   (Authorization: Bearer {running.api_key})
{web_processes}
  Webhooks  signed with {running.webhook_secret}
  HAProxy   echo 'show stat' | socat stdio {layout.admin}
  Manage    {layout.options.script} create_operator NAME --role operator  (then /admin/)
  Logs      {layout.options.logs}
"""

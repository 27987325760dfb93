"""`manage.py run_processes`: docker-compose.yml without Docker, until Ctrl-C."""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from workers.embedded import one_machine
from workers.embedded.plan import Options
from workers.embedded.processes import EmbeddedError
from workers.embedded.supervisor import StopRequested
from workers.embedded.view import View


class Command(BaseCommand):
    """Start the commands of docker-compose.yml as processes behind HAProxy.

    Reads no settings: it creates the environment that defines them.
    """

    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--data-dir", type=Path, default=Path("var/processes"))
        parser.add_argument("--port", type=int, default=8000, help="else a free port")
        parser.add_argument("--ready-file", type=Path, help="JSON, once ready")
        parser.add_argument(
            "--scale",
            type=_scale,
            action="append",
            default=[],
            metavar="SERVICE=NUMBER",
            help="processes of a service, like `docker compose up --scale`",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run until SIGINT or SIGTERM."""
        console = Console()
        chosen = Options(
            data_dir=options["data_dir"].resolve(),
            port=options["port"],
            ready_file=options["ready_file"],
        )
        shape = one_machine.MachineShape(scale=dict(options["scale"]))
        try:
            with one_machine.running(chosen, View(console), shape) as machine:
                console.print(_greeting(machine), highlight=False, soft_wrap=True)
                machine.supervisor.run()
        except StopRequested:
            console.print("stopped")
        except EmbeddedError as error:
            raise CommandError(str(error)) from error


def _scale(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not (name and number.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is not like worker=3")
    return name, int(number)


def _greeting(machine: one_machine.Machine) -> str:
    plan = machine.plan
    return f"""
  Front     {plan.web}/v1/   (Authorization: Bearer {machine.api_key})
  Flower    {plan.flower}   ({plan.flower_login})
  Upstream  {plan.emulator or "Deepgram"}
  Webhooks  signed with {machine.webhook_secret}
  Manage    {plan.options.script} create_operator NAME --role operator   (then /admin/)
  Logs      {plan.options.logs}   (haproxy.log: which process served what)
"""

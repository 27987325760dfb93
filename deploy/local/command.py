"""The command line that both runs share: options, then supervision until Ctrl-C.

Reads no Django settings: a run creates the environment that defines them.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Protocol

from rich.console import Console

from workers.embedded.plan import Options
from workers.embedded.processes import EmbeddedError
from workers.embedded.supervisor import StopRequested, Supervisor
from workers.embedded.view import View


class SupervisedRun(Protocol):
    """A run whose processes are ready."""

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor of its processes."""

    def describe(self) -> str:
        """Return its addresses, keys and folders for the terminal."""


def build_parser(description: str | None, *, folder: str, port: int) -> ArgumentParser:
    """Return a parser with the options of both runs."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--data-dir", type=Path, default=Path(folder))
    parser.add_argument("--port", type=int, default=port, help="else a free port")
    parser.add_argument("--ready-file", type=Path, help="JSON, once ready")
    return parser


def supervise(
    arguments: Namespace,
    start: Callable[[Options, View], AbstractContextManager[SupervisedRun]],
) -> None:
    """Start a run and supervise it until SIGINT or SIGTERM; exit with 1 on errors."""
    console = Console()
    options = Options(
        data_dir=arguments.data_dir.resolve(),
        port=arguments.port,
        ready_file=arguments.ready_file,
    )
    try:
        with closing(View(console)) as view, start(options, view) as run:
            console.print(run.describe(), highlight=False, soft_wrap=True)
            run.supervisor.run()
    except StopRequested:
        console.print("stopped")
    except EmbeddedError as error:
        sys.exit(str(error))

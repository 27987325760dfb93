"""Runs a command and returns its exit code.

Imports little, so that `transcribe --help` is fast.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, cast

import click

from transcribe_platform.version import VERSION

PROGRAM = "transcribe"
_FILES = "files"
_COMMANDS = {
    _FILES: "Transcribe files, folders, URLs or a manifest (default command).",
    "jobs": "List, show, cancel and retry jobs.",
    "batches": "Watch, list and manage batches; download their results.",
    "search": "Search all transcripts.",
    "listen": "Transcribe live: a microphone through a pipe, or a file in real time.",
    "webhooks": "List webhook deliveries and send them again.",
    "usage": "Show usage, costs and quotas.",
    "configure": "Save the URL of the platform and your API key.",
}
_HELP = """Transcribe audio on your transcription platform.

\b
  transcribe talk.mp3                          print the transcript
  transcribe calls/ --format srt --out subs/   a folder, as subtitles
  transcribe https://example.com/a.wav         a URL that the platform can fetch
  transcribe manifest.jsonl --out results/     a batch of many files
  sox -d -t raw -r 16000 -b 16 -c 1 -e signed - | transcribe listen

Set TRANSCRIBE_URL and TRANSCRIBE_API_KEY, or run `transcribe configure`. To resume
a stopped command, run it again: no audio is transcribed twice.
"""


class Commands(click.Group):
    """A group that imports commands on demand; `files` is the default."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Prepend `files` unless the first argument is a command."""
        if args and args[0] not in {*_COMMANDS, "--help", "-h", "--version"}:
            args = [_FILES, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"transcribe_platform.cli.commands.{cmd_name}")
        return cast("click.Command", module.command)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=Commands,
    help=_HELP,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(VERSION, prog_name=PROGRAM)
def group() -> None:
    """Group of all commands."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        result: Any = group.main(args=args, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader closed the pipe; the interpreter must not flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return int(result or 0)

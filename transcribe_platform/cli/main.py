"""Find the command, run it, and turn what went wrong into a sentence and a number.

Imports as little as it can: `transcribe --help` is there at once.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, cast

import click

from transcribe_platform.cli.failure import Failure
from transcribe_platform.version import VERSION

PROGRAM = "transcribe"
_FILES = "files"
_COMMANDS = {
    _FILES: "Transcribe files, folders, URLs or a manifest (may be left out).",
    "jobs": "List, show, cancel and retry jobs.",
    "batches": "Follow, list and steer batches; fetch their results.",
    "search": "Find words in all transcripts.",
    "listen": "Transcribe live: a microphone through a pipe, or a file at its pace.",
    "webhooks": "See what was sent to your endpoints, and send it again.",
    "usage": "Show what was transcribed, what it cost, and what is left.",
    "configure": "Write down where the platform is and your key.",
}
_HELP = """Transcribe audio on your transcription platform.

\b
  transcribe talk.mp3                          print the transcript
  transcribe calls/ --format srt --out subs/   a folder, as subtitles
  transcribe https://example.com/a.wav         what the platform can fetch
  transcribe manifest.jsonl --out results/     a hundred thousand at once
  sox -d -t raw -r 16000 -b 16 -c 1 -e signed - | transcribe listen

Where the platform is: TRANSCRIBE_URL and TRANSCRIBE_API_KEY, or a file that
`transcribe configure` writes. The same command again goes on where the last one
was stopped; nothing is paid for twice.
"""


class Commands(click.Group):
    """A group that imports a command once it is wanted, and guesses `files`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `files` in front of what is no command."""
        if args and args[0] not in {*_COMMANDS, "--help", "-h", "--version"}:
            args = [_FILES, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Name the commands."""
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
        """List the commands without importing them."""
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
    """Hold the commands."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        answer: Any = group.main(args=args, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except Failure as error:
        error.show()
        return error.status
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not flush to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return int(answer or 0)

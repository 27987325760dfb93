"""The connection and the output of a command.

Results go to stdout, messages to stderr. With `--json`, stdout has one JSON object per
line and nothing else.
"""

import json
import os
import sys
import unicodedata
from collections.abc import Callable
from functools import update_wrapper
from threading import Event
from typing import Any, NoReturn, TypeVar

import click

from transcribe_platform.cli import config, exit_codes
from transcribe_platform.cli.failure import CommandError
from transcribe_platform.client import Client
from transcribe_platform.client.errors import ApiError, ClientError

Function = TypeVar("Function", bound=Callable[..., Any])


class Stopped(Exception):
    """The command is stopping; ends its threads."""


class Session:
    """One run of a command."""

    def __init__(
        self, *, url: str | None, profile: str | None, as_json: bool, quiet: bool
    ) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.stop = Event()
        # Prints a line above the progress bars; set while they are shown.
        self.print_above_bars: Callable[[str], object] | None = None
        try:
            self.connection = config.find_connection(
                url=url, profile=profile, environment=os.environ
            )
            self.client = Client(
                self.connection.url, self.connection.api_key, sleep=self.pause
            )
        except (config.ConfigError, ValueError) as error:
            is_key = "key" in str(error)
            code = exit_codes.Exit.NOT_ALLOWED if is_key else exit_codes.Exit.USAGE
            fail(str(error), code=code, as_json=as_json, error_code="not_configured")
        if self.connection.warning:
            self.inform(self.connection.warning)

    @property
    def is_terminal(self) -> bool:
        """Whether stdout is a terminal and the output is not JSON."""
        return sys.stdout.isatty() and not self.as_json

    @property
    def shows_progress(self) -> bool:
        """Whether to show progress bars: at a terminal, but not between JSON lines."""
        if self.quiet or not sys.stderr.isatty():
            return False
        return not (self.as_json and sys.stdout.isatty())

    def inform(self, text: str) -> None:
        """Write a message to stderr, unless quiet."""
        if not self.quiet:
            self.warn(text)

    def warn(self, text: str, **style: Any) -> None:
        """Write a message to stderr, even if quiet."""
        self._put(click.style(printable(text), **style), to_stderr=True)

    def write(self, text: str) -> None:
        """Write a result to stdout, without control characters at a terminal."""
        shown = printable(text) if self.is_terminal else text
        self._put(shown, to_stderr=False)

    def hint(self, text: str) -> None:
        """Write a message to stderr if it is a terminal."""
        if sys.stderr.isatty():
            self.inform(text)

    def _put(self, text: str, *, to_stderr: bool) -> None:
        is_terminal = to_stderr or sys.stdout.isatty()
        if self.print_above_bars and is_terminal:
            self.print_above_bars(text)
        else:
            click.echo(text, err=to_stderr)

    def emit(self, value: Any) -> None:
        """Write one JSON object as a line to stdout."""
        click.echo(json.dumps(value, ensure_ascii=False))

    def pause(self, seconds: float) -> None:
        """Sleep; raises Stopped when the command is stopping."""
        if self.stop.wait(seconds):
            raise Stopped


def common(function: Function) -> Function:
    """Decorate a command with the common options, its session and error handling."""

    @click.option("--url", metavar="URL", help="URL of the platform.")
    @click.option(
        "--profile", metavar="NAME", help="Profile in the configuration file."
    )
    @click.option(
        "--json", "as_json", is_flag=True, help="Write one JSON object per line."
    )
    @click.option("-q", "--quiet", is_flag=True, help="Write errors only.")
    def run(
        url: str | None,
        profile: str | None,
        as_json: bool,  # noqa: FBT001  click calls this
        quiet: bool,  # noqa: FBT001
        **named: Any,
    ) -> Any:
        session = Session(url=url, profile=profile, as_json=as_json, quiet=quiet)
        try:
            return function(session, **named)
        except KeyboardInterrupt:
            session.stop.set()
            raise
        except ClientError as error:
            end(error, as_json=as_json)

    return update_wrapper(run, function)  # type: ignore[return-value]


def end(error: ClientError, *, as_json: bool) -> NoReturn:
    """End the command with the message and exit code of an error."""
    fail(
        "\n".join(exit_codes.explain(error)),
        code=exit_codes.choose_exit(error),
        as_json=as_json,
        error_code=get_code(error),
        detail=error.detail if isinstance(error, ApiError) else "",
    )


def get_code(error: Exception) -> str:
    """Return a stable code for any error: the API's, or one derived from the class."""
    if isinstance(error, ApiError):
        return error.code
    if isinstance(error, OSError):
        return "file_unreadable"
    name = type(error).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def fail(
    text: str, *, code: int, as_json: bool, error_code: str, detail: str = ""
) -> NoReturn:
    """End the command with a message on stderr, and as JSON with `--json`."""
    if as_json:
        first = detail or text.splitlines()[0]
        error = {"type": "error", "code": error_code, "detail": first}
        click.echo(json.dumps(error, ensure_ascii=False))
    raise CommandError(printable(text), code)


# Unicode's control characters and lone surrogates: not the joiners and spaces of names.
_CONTROLS = {"Cc", "Cs"}


def printable(text: str) -> str:
    """Return text without control characters, which could control the terminal."""
    return "".join(
        "�" if unicodedata.category(c) in _CONTROLS and c not in "\n\t" else c
        for c in text
    )

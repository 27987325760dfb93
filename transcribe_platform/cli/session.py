"""What every command has: a connection, and a way to say things.

stdout is for results, stderr for people; `--json` puts one object a line on stdout and
nothing else.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import update_wrapper
from threading import Event
from typing import Any, NoReturn, TypeVar

import click

from transcribe_platform.cli import config, exit_codes
from transcribe_platform.cli.failure import Failure
from transcribe_platform.client import Client
from transcribe_platform.client.errors import ApiError, ClientError

Function = TypeVar("Function", bound=Callable[..., Any])


class Stopped(Exception):
    """The command is being stopped; what runs in threads ends with this."""


class Session:
    """One run of a command."""

    def __init__(
        self, *, url: str | None, profile: str | None, as_json: bool, quiet: bool
    ) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.stop = Event()
        # Where bars are shown lines must go through them: set while there are any.
        self.above_bars: Callable[[str], object] | None = None
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
            self.say(self.connection.warning)

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at the results."""
        return sys.stdout.isatty() and not self.as_json

    @property
    def shows_progress(self) -> bool:
        """Whether bars are wanted: at a terminal, and not in the midst of JSON."""
        if self.quiet or not sys.stderr.isatty():
            return False
        return not (self.as_json and sys.stdout.isatty())

    def say(self, text: str) -> None:
        """Tell the person something, unless nothing is to be said."""
        if not self.quiet:
            self.complain(text)

    def complain(self, text: str, **style: Any) -> None:
        """Say on stderr what has to be said."""
        self._put(click.style(printable(text), **style), to_people=True)

    def write(self, text: str) -> None:
        """Write a result on stdout; at a terminal nothing in it steers that."""
        shown = printable(text) if self.is_terminal else text
        self._put(shown, to_people=False)

    def hint(self, text: str) -> None:
        """Tell a person at a terminal something that a script does not need."""
        if sys.stderr.isatty():
            self.say(text)

    def _put(self, text: str, *, to_people: bool) -> None:
        is_seen = to_people or sys.stdout.isatty()
        if self.above_bars and is_seen:
            self.above_bars(text)
        else:
            click.echo(text, err=to_people)

    def emit(self, value: Any) -> None:
        """Write one JSON object on a line of its own."""
        click.echo(json.dumps(value, ensure_ascii=False))

    def pause(self, seconds: float) -> None:
        """Wait, unless the command is being stopped: then raise Stopped."""
        if self.stop.wait(seconds):
            raise Stopped


def common(function: Function) -> Function:
    """Give a command the options that all have, and its session; explain errors."""

    @click.option("--url", metavar="URL", help="Where the platform is.")
    @click.option("--profile", metavar="NAME", help="A profile of the configuration.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
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
    """End the command with what an error means."""
    fail(
        "\n".join(exit_codes.explain(error)),
        code=exit_codes.exit_of(error),
        as_json=as_json,
        error_code=code_of(error),
        detail=error.detail if isinstance(error, ApiError) else "",
    )


def code_of(error: Exception) -> str:
    """Return a stable code for any error, as the API has for its own."""
    if isinstance(error, ApiError):
        return error.code
    if isinstance(error, OSError):
        return "file_unreadable"
    name = type(error).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def fail(
    text: str, *, code: int, as_json: bool, error_code: str, detail: str = ""
) -> NoReturn:
    """Say what is wrong on stderr, and as JSON where that is wanted; end."""
    if as_json:
        first = detail or text.splitlines()[0]
        said = {"type": "error", "code": error_code, "detail": first}
        click.echo(json.dumps(said, ensure_ascii=False))
    raise Failure(printable(text), code)


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: names come from anywhere."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)

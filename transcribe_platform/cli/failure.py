"""The exception that ends a command. Imports little: every command imports it."""

import click


class CommandError(click.ClickException):
    """A message for stderr and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # click reads the instance's

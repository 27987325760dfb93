"""The end of a command that cannot go on; light, for it is imported by all."""

import click


class Failure(click.ClickException):
    """A sentence for stderr, and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.status = code

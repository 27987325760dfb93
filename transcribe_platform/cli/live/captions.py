"""Shows live transcripts: the last line is interim, those above are final."""

import shutil
import sys

import click

from transcribe_platform.cli.session import Session, printable
from transcribe_platform.client.live import LiveMessage

_CLEAR_LINE = "\r\x1b[2K"


class Captions:
    """Writes the messages of a live session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._has_interim = False

    def show(self, message: LiveMessage) -> None:
        """Show a message."""
        if self._session.as_json:
            self._session.emit(message)
            return
        match message["type"]:
            case "transcript":
                self._show_words(message)
            case "warning" | "error":
                text = f"{message.get('detail', '')} ({message.get('code', '')})"
                self._clear()
                self._session.warn(text, fg="yellow")
            case "ready":
                self._session.hint("Listening. Press Ctrl-C to stop.")

    def end(self) -> None:
        """Remove the interim line."""
        self._clear()

    def _show_words(self, message: LiveMessage) -> None:
        text = printable(message.get("text", "")).replace("\n", " ")
        if channel := message.get("channel"):
            text = f"[{channel}] {text}"
        if message.get("is_final"):
            self._clear()
            if text:
                click.echo(text)
                sys.stdout.flush()
        elif self._session.is_terminal:
            self._clear()
            width = shutil.get_terminal_size().columns - 1
            # Wide characters take two columns.
            room = width if text.isascii() else width // 2
            click.echo(click.style(text[-room:], dim=True), nl=False)
            self._has_interim = True

    def _clear(self) -> None:
        if self._has_interim:
            click.echo(_CLEAR_LINE, nl=False)
            self._has_interim = False

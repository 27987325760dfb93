"""`transcribe listen`: audio goes in as it is heard, words come out as it is said."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from transcribe_platform.cli import job_options
from transcribe_platform.cli.exit_codes import Exit
from transcribe_platform.cli.live import audio_input
from transcribe_platform.cli.live.captions import Captions
from transcribe_platform.cli.session import Session, common
from transcribe_platform.client.live import LiveMessage, LiveSession

_QUIET_SECONDS = 4.0  # the platform ends a session after ten seconds without audio
_EXIT_OF_CODE = {
    4401: Exit.NOT_ALLOWED,
    4403: Exit.NOT_ALLOWED,
    4400: Exit.USAGE,
    4429: Exit.LIMIT,
    4503: Exit.UNAVAILABLE,
    1011: Exit.UNAVAILABLE,
    1006: Exit.UNAVAILABLE,
}


@click.command("listen")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--encoding", default="linear16", show_default=True, help="Of raw audio.")
@click.option("--sample-rate", type=int, default=16000, show_default=True)
@click.option("--channels", type=int, default=1, show_default=True)
@click.option(
    "--container",
    is_flag=True,
    help="stdin is no raw audio, but ogg, webm or the like.",
)
@click.option("--endpointing", type=int, metavar="MS", help="A pause that ends speech.")
@click.option("--interim/--no-interim", default=True, help="Show words as they come.")
@job_options.request_options
@common
def command(session: Session, *, file: Path | None, **named: Any) -> int:
    """Transcribe live what comes on stdin (raw 16 kHz mono PCM without options).

    \b
      sox -d -t raw -r 16000 -b 16 -c 1 -e signed - | transcribe listen
      arecord -q -f S16_LE -r 16000 -c 1 -t raw | transcribe listen
      transcribe listen call.wav

    A file is sent at the pace at which it was spoken. Words that may still change are
    shown in place, final ones stay; in a pipe there are final ones only.
    """
    if file is None and sys.stdin.isatty():
        raise click.UsageError("Pipe audio into this, or name a file: see --help.")
    sound = _find_sound(file, named)
    request = job_options.build_request(named)
    options = {**request.options, **sound.options}
    options["interim_results"] = named["interim"]
    if named["endpointing"] is not None:
        options["endpointing"] = named["endpointing"]
    captions = Captions(session)
    with session.client.listen(**options) as live:
        return _Run(session, live, captions).run(sound.frames)


def _find_sound(file: Path | None, named: Mapping[str, Any]) -> audio_input.Sound:
    if file is not None and str(file) != "-":
        try:
            return audio_input.read_file(file)
        except OSError as error:
            message = f"{file} cannot be read: {error.strerror}"
            raise click.UsageError(message) from error
    if named["container"]:
        return audio_input.read_container(sys.stdin.buffer)
    return audio_input.read_raw(
        sys.stdin.buffer,
        encoding=named["encoding"],
        sample_rate=named["sample_rate"],
        channels=named["channels"],
    )


class _Run:
    """One session: a thread that sends, and this one, which shows."""

    def __init__(self, session: Session, live: LiveSession, captions: Captions) -> None:
        self._session, self._live, self._captions = session, live, captions
        self._sent_at = time.monotonic()
        self._is_over = threading.Event()
        self._closed: LiveMessage | None = None

    def run(self, frames: Iterator[bytes]) -> int:
        """Send and show until the end; return the exit code."""
        sender = threading.Thread(target=self._send, args=(frames,), daemon=True)
        threading.Thread(target=self._keep_alive, daemon=True).start()
        try:
            for message in self._messages(sender):
                self._show(message)
        except KeyboardInterrupt:
            # Enough was said: what is still on its way is shown, then it is over.
            self._live.finish()
            for message in self._live:
                self._show(message)
        finally:
            self._is_over.set()
            self._captions.end()
        return self._tell_end()

    def _messages(self, sender: threading.Thread) -> Iterator[LiveMessage]:
        for message in self._live:
            if message["type"] == "ready":
                sender.start()
            yield message

    def _show(self, message: LiveMessage) -> None:
        if message["type"] == "closed":
            self._closed = message
        self._captions.show(message)

    def _send(self, frames: Iterator[bytes]) -> None:
        for frame in frames:
            if self._is_over.is_set() or not self._live.send(frame):
                return
            self._sent_at = time.monotonic()
        self._live.finish()

    def _keep_alive(self) -> None:
        while not self._is_over.wait(1.0):
            if time.monotonic() - self._sent_at > _QUIET_SECONDS:
                self._live.keep_alive()
                self._sent_at = time.monotonic()

    def _tell_end(self) -> int:
        closed = self._closed
        if closed is None:
            code = self._live.close_code or 1006
            self._session.complain(f"The session broke off ({code}).", fg="red")
            return _EXIT_OF_CODE.get(code, Exit.SOME_FAILED)
        if closed.get("status") != "completed":
            why = self._session.client.jobs.get(closed["job_id"])["error"]
            said = f"{why['detail']} ({why['code']})" if why else closed["reason"]
            self._session.complain(f"The session failed: {said}", fg="red")
            code = self._live.close_code or 0
            return _EXIT_OF_CODE.get(code, Exit.SOME_FAILED)
        self._session.hint(
            f"{closed.get('audio_seconds', 0):.1f} s; job {closed.get('job_id')}"
        )
        return Exit.OK

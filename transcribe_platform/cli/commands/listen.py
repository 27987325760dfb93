"""`transcribe listen`: live transcription."""

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

_IDLE_SECONDS = 4.0  # the platform ends a session after ten seconds without audio
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
@click.option(
    "--encoding", default="linear16", show_default=True, help="Encoding of raw audio."
)
@click.option("--sample-rate", type=int, default=16000, show_default=True)
@click.option("--channels", type=int, default=1, show_default=True)
@click.option(
    "--container",
    is_flag=True,
    help="stdin is a container such as Ogg or WebM, not raw audio.",
)
@click.option(
    "--endpointing", type=int, metavar="MS", help="Length of a pause that ends speech."
)
@click.option("--interim/--no-interim", default=True, help="Show interim results.")
@job_options.request_options
@common
def command(session: Session, *, file: Path | None, **named: Any) -> int:
    """Transcribe audio from stdin live (default: raw 16-bit PCM, 16 kHz, mono).

    \b
      sox -d -t raw -r 16000 -b 16 -c 1 -e signed - | transcribe listen
      arecord -q -f S16_LE -r 16000 -c 1 -t raw | transcribe listen
      transcribe listen call.wav

    A file is sent in real time. At a terminal interim results are replaced by final
    ones; in a pipe only final ones are written.
    """
    if file is None and sys.stdin.isatty():
        raise click.UsageError("Pipe audio to stdin, or name a file: see --help.")
    audio = _open_input(file, named)
    request = job_options.build_request(named)
    options = {**request.options, **audio.options}
    options["interim_results"] = named["interim"]
    if named["endpointing"] is not None:
        options["endpointing"] = named["endpointing"]
    captions = Captions(session)
    with session.client.listen(**options) as live:
        return _Run(session, live, captions).run(audio.frames)


def _open_input(file: Path | None, named: Mapping[str, Any]) -> audio_input.AudioInput:
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
    """One session: one thread sends, the main thread shows messages."""

    def __init__(self, session: Session, live: LiveSession, captions: Captions) -> None:
        self._session, self._live, self._captions = session, live, captions
        self._sent_at = time.monotonic()
        self._is_over = threading.Event()
        self._closed: LiveMessage | None = None

    def run(self, frames: Iterator[bytes]) -> int:
        """Run the session to its end; return the exit code."""
        sender = threading.Thread(target=self._send, args=(frames,), daemon=True)
        threading.Thread(target=self._keep_alive, daemon=True).start()
        try:
            for message in self._messages(sender):
                self._show(message)
        except KeyboardInterrupt:
            # End the audio and show the remaining results.
            self._live.finish()
            for message in self._live:
                self._show(message)
        finally:
            self._is_over.set()
            self._captions.end()
        return self._report_end()

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
            if time.monotonic() - self._sent_at > _IDLE_SECONDS:
                self._live.keep_alive()
                self._sent_at = time.monotonic()

    def _report_end(self) -> int:
        closed = self._closed
        if closed is None:
            code = self._live.close_code or 1006
            self._session.warn(f"The session was interrupted ({code}).", fg="red")
            return _EXIT_OF_CODE.get(code, Exit.SOME_FAILED)
        if closed.get("status") != "completed":
            error = self._session.client.jobs.get(closed["job_id"])["error"]
            detail = (
                f"{error['detail']} ({error['code']})" if error else closed["reason"]
            )
            self._session.warn(f"The session failed: {detail}", fg="red")
            code = self._live.close_code or 0
            return _EXIT_OF_CODE.get(code, Exit.SOME_FAILED)
        self._session.hint(
            f"{closed.get('audio_seconds', 0):.1f} s; job {closed.get('job_id')}"
        )
        return Exit.OK

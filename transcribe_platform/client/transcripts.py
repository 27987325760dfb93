"""Transcripts, in the form that is wanted."""

from typing import cast

from transcribe_platform.client.calls import Call
from transcribe_platform.client.shapes import Transcript
from transcribe_platform.client.transport import Transport

_LONG_SECONDS = 120.0


class Transcripts:
    """``client.transcripts``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, job_id: str) -> Transcript:
        """Return the transcript of a completed job."""
        call = Call(method="GET", path=f"/v1/transcripts/{job_id}")
        return cast("Transcript", self._transport.ask(call))

    def read(self, job_id: str, format_name: str) -> bytes:
        """Return the transcript as a document: ``json``, ``text``, ``srt`` …"""
        call = Call(
            method="GET",
            path=f"/v1/transcripts/{job_id}",
            params={"format": format_name},
            headers={"Accept": "*/*"},
            timeout=_LONG_SECONDS,
        )
        return self._transport.send(call).content

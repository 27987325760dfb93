"""Deepgram as the transcription backend: one call, under a total deadline.

Retrying, permits and regions are decided elsewhere; this makes the call it is told
to make, once.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import IO, Any

import h11
import httpx
from deepgram.core.api_error import ApiError

from jobs.backoff import Failure
from jobs.bounded_json import check_depth
from jobs.errors import UpstreamError
from jobs.scheduling.claims import PermitKind
from transcripts.backends import (
    StoredAudio,
    TranscriptionRequest,
    TranscriptionResult,
)
from workers import metrics
from workers.deepgram import client, errors
from workers.egress import network
from workers.ratelimit.permits import get_permits

UPLOAD_CHUNK_BYTES = 1024**2
COOLDOWN_SECONDS = 1.0
# Of Deepgram's document, whose own levels are a dozen.
MAX_DEPTH = 32
# Failures that say the upstream is unwell, whatever the job.
UNWELL = {Failure.UNAVAILABLE, Failure.UNREACHABLE, Failure.TIMEOUT}


class DeepgramBackend:
    """Calls ``/v1/listen`` through deepgram-sdk; safe to share by threads."""

    def __init__(self) -> None:
        self._permits = get_permits()
        self._breaker = self._permits.breaker

    def transcribe(self, request: TranscriptionRequest) -> TranscriptionResult:
        """Make one call, and tell the region's limits how the upstream is.

        Raises UpstreamError for anything but a JSON answer.
        """
        region = request.region.name
        connections = metrics.CONNECTIONS.labels(region, PermitKind.PRERECORDED)
        try:
            with connections.track_inprogress():
                result = self._transcribe(request)
        except UpstreamError as error:
            if error.failure == Failure.RATE_LIMITED:
                wait = error.retry_after or COOLDOWN_SECONDS
                self._permits.cool_down(region, seconds=wait)
            if error.failure != Failure.STORAGE:  # which says nothing of the upstream
                self._breaker.record(region, well=error.failure not in UNWELL)
            raise
        self._breaker.record(region, well=True)
        return result

    def _transcribe(self, request: TranscriptionRequest) -> TranscriptionResult:
        client.take_answer()
        try:
            with network.deadline(request.deadline_seconds):
                self._call(request)
        except ApiError as error:
            raise errors.from_answer(
                error.status_code or 0, error.headers or {}, error.body
            ) from error
        except network.DeadlineExceeded as error:
            raise errors.timed_out() from error
        except RecursionError as error:  # the SDK parses the answer, too
            raise errors.unintelligible("") from error
        except (httpx.HTTPError, h11.ProtocolError, OSError) as error:
            raise errors.broken_off(error) from error
        return self._read_answer()

    def _call(self, request: TranscriptionRequest) -> None:
        media = client.get_region_client(request.region).listen.v1.media
        options: dict[str, Any] = {
            "max_retries": 0,
            "additional_query_parameters": build_query(request),
        }
        if isinstance(request.source, str):
            media.transcribe_url(url=request.source, request_options=options)
            return
        # Lower case: any other spelling puts a second header on the wire. The length,
        # because without it the SDK sends chunks, which Deepgram may cut silently.
        options["additional_headers"] = {
            "content-length": str(request.source.size_bytes),
            "content-type": request.source.content_type or "application/octet-stream",
        }
        with closing(open_audio(request.source)) as audio:
            media.transcribe_file(request=read_chunks(audio), request_options=options)

    @staticmethod
    def _read_answer() -> TranscriptionResult:
        answer = client.take_answer()
        if answer is None:  # the SDK returned without our transport having answered
            raise errors.unintelligible("")
        request_id = answer.headers.get("dg-request-id", "")
        try:
            check_depth(answer.content, MAX_DEPTH)
            document = json.loads(answer.content)
        except ValueError:
            raise errors.unintelligible(request_id) from None
        if not isinstance(document, dict):
            raise errors.unintelligible(request_id)
        return TranscriptionResult(
            raw=answer.content, document=document, request_id=request_id
        )


def build_query(request: TranscriptionRequest) -> dict[str, Any]:
    """Return the query: the job's options and the tags that the ledger goes by."""
    tags = [*request.options.get("tag", []), *request.tags]
    return {**request.options, "tag": tags}


def open_audio(source: StoredAudio) -> IO[bytes]:
    """Open an upload.

    Raises UpstreamError: final when storage has lost it, else it is away.
    """
    try:
        return source.open()
    except FileNotFoundError as error:
        message = "The uploaded audio is no longer in storage."
        raise UpstreamError(
            message, code="audio_missing", failure=Failure.PLATFORM
        ) from error
    except OSError as error:
        raise errors.storage_away() from error


def read_chunks(audio: IO[bytes]) -> Iterator[bytes]:
    """Yield the file in pieces; a generator, as the SDK copies bytes three times.

    Raises UpstreamError when storage goes away meanwhile.
    """
    while chunk := _read(audio):
        yield chunk


def _read(audio: IO[bytes]) -> bytes:
    try:
        return audio.read(UPLOAD_CHUNK_BYTES)
    except OSError as error:
        raise errors.storage_away() from error

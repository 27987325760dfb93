"""The Deepgram transcription backend: makes one call with a total deadline.

Retries, permits and the choice of region are the caller's.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import h11
import httpx
from deepgram.core.api_error import ApiError

from jobs import options
from jobs.backoff import Failure
from jobs.errors import UpstreamError
from jobs.parsing.bounded_json import check_depth
from jobs.scheduling.claims import PermitKind
from transcripts.backends import (
    TranscriptionRequest,
    TranscriptionResult,
)
from workers import metrics
from workers.deepgram import client, errors, sent_audio
from workers.deepgram.sent_audio import SentAudio
from workers.egress import network
from workers.ratelimit.permits import get_permits

UPLOAD_CHUNK_BYTES = 1024**2
COOLDOWN_SECONDS = 1.0
# The nesting limit of a response; Deepgram's documents have a dozen levels.
MAX_DEPTH = 32
# Failures that count against the region's circuit breaker.
UNHEALTHY = {Failure.UNAVAILABLE, Failure.UNREACHABLE, Failure.TIMEOUT}


class DeepgramBackend:
    """Calls ``/v1/listen`` through deepgram-sdk. Thread-safe."""

    def __init__(self) -> None:
        self._permits = get_permits()
        self._breaker = self._permits.breaker

    def transcribe(self, request: TranscriptionRequest) -> TranscriptionResult:
        """Make one call; update the region's circuit breaker and rate limit.

        Raises UpstreamError for anything except a JSON response.
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
            if error.failure != Failure.STORAGE:  # not a failure of Deepgram
                self._breaker.record(region, well=error.failure not in UNHEALTHY)
            raise
        self._breaker.record(region, well=True)
        return result

    def _transcribe(self, request: TranscriptionRequest) -> TranscriptionResult:
        client.pop_response()
        try:
            with network.deadline(request.deadline_seconds):
                sent = self._call(request)
        except ApiError as error:
            raise errors.from_response(
                error.status_code or 0, error.headers or {}, error.body
            ) from error
        except network.DeadlineExceeded as error:
            raise errors.build_error("upstream_timeout") from error
        except RecursionError as error:  # the SDK also parses the response
            raise _invalid_response("") from error
        except (httpx.HTTPError, h11.ProtocolError, OSError) as error:
            raise errors.from_exception(error) from error
        result = self._parse_response()
        if sent is None:
            return result
        return replace(result, sent_bytes=sent.size_bytes, sent_type=sent.content_type)

    def _call(self, request: TranscriptionRequest) -> SentAudio | None:
        """Make the call; return what was uploaded, None for a URL."""
        media = client.get_region_client(request.region).listen.v1.media
        request_options: dict[str, Any] = {
            "max_retries": 0,
            "additional_query_parameters": build_query(request),
        }
        if isinstance(request.source, str):
            media.transcribe_url(url=request.source, request_options=request_options)
            return None
        with sent_audio.open_audio(request.source, request.options) as audio:
            # Lower case, or the SDK sends the header twice. Without a length the SDK
            # sends chunked encoding, which Deepgram may truncate silently.
            request_options["additional_headers"] = {
                "content-length": str(audio.size_bytes),
                "content-type": audio.content_type,
            }
            chunks = read_chunks(audio.file)
            media.transcribe_file(request=chunks, request_options=request_options)
            return audio

    @staticmethod
    def _parse_response() -> TranscriptionResult:
        response = client.pop_response()
        if response is None:  # the SDK returned without a call to the transport
            raise _invalid_response("")
        request_id = response.headers.get("dg-request-id", "")
        try:
            check_depth(response.content, MAX_DEPTH)
            document = json.loads(response.content)
        except ValueError:
            raise _invalid_response(request_id) from None
        if not isinstance(document, dict):
            raise _invalid_response(request_id)
        return TranscriptionResult(
            raw=response.content, document=document, request_id=request_id
        )


def build_query(request: TranscriptionRequest) -> dict[str, Any]:
    """Return the query: the job's options, with the tags used for reconciliation."""
    tags = [*request.options.get("tag", []), *request.tags]
    sent = {name: it for name, it in request.options.items() if name not in options.OWN}
    return {**sent, "tag": tags}


def read_chunks(audio: IO[bytes]) -> Iterator[bytes]:
    """Yield the file in chunks; the SDK would copy a bytes object three times.

    Raises UpstreamError when storage fails.
    """
    while chunk := _read(audio):
        yield chunk


def _invalid_response(request_id: str) -> UpstreamError:
    return errors.build_error("upstream_bad_answer", status=200, request_id=request_id)


def _read(audio: IO[bytes]) -> bytes:
    try:
        return audio.read(UPLOAD_CHUNK_BYTES)
    except OSError as error:
        raise errors.build_error("storage_unavailable") from error

"""Map Deepgram's errors, and the SDK's exceptions, to UpstreamError.

Statuses and texts: https://developers.deepgram.com/docs/errors. Two envelopes exist
(``err_code``/``err_msg`` and ``category``/``message``); gateways respond with HTML.
"""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from django.utils import timezone

from jobs.backoff import Failure
from jobs.bounded_json import loads_bounded
from jobs.errors import UpstreamError

MAX_ENVELOPE = 64 * 1024
MAX_RETRY_AFTER_SECONDS = 3600

_BY_STATUS: dict[int, tuple[Failure, str]] = {
    401: (Failure.ACCOUNT, "upstream_credentials_refused"),
    402: (Failure.ACCOUNT, "upstream_out_of_credit"),
    403: (Failure.ACCOUNT, "upstream_access_refused"),
    408: (Failure.UNAVAILABLE, "upstream_upload_timeout"),
    411: (Failure.PLATFORM, "upstream_length_required"),
    413: (Failure.BAD_MEDIA, "audio_too_large"),
    415: (Failure.BAD_MEDIA, "audio_unsupported"),
    # "Unable to read the entire client request": a network error, so retryable.
    422: (Failure.UNAVAILABLE, "upstream_upload_interrupted"),
    429: (Failure.RATE_LIMITED, "upstream_rate_limited"),
    504: (Failure.TOO_LONG, "upstream_processing_timeout"),
}
_ADVICE = {
    "audio_url_expired": "The audio URL returned 403. A presigned URL has probably"
    " expired. Sign it for longer than the job may queue, or upload the file.",
    "upstream_processing_timeout": "Deepgram stopped after ten minutes of processing."
    " Split the audio and submit the parts.",
    "audio_unreadable": "The file cannot be decoded as audio.",
}


def from_response(
    status: int, headers: Mapping[str, str], body: object
) -> UpstreamError:
    """Map an HTTP error response."""
    code, message = _parse_envelope(body)
    failure, error_code = _classify(status, code, message)
    return UpstreamError(
        _ADVICE.get(error_code) or message or f"Deepgram responded with {status}.",
        code=error_code,
        failure=failure,
        status=status,
        request_id=headers.get("dg-request-id", ""),
        retry_after=parse_retry_after(headers.get("retry-after", "")),
    )


def from_exception(cause: Exception) -> UpstreamError:
    """Map a network error; one before the request was sent costs no attempt."""
    is_unsent = isinstance(
        cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout
    )
    return UpstreamError(
        f"The connection to Deepgram failed ({type(cause).__name__}).",
        code="upstream_unreachable" if is_unsent else "upstream_connection_lost",
        failure=Failure.UNREACHABLE if is_unsent else Failure.UNAVAILABLE,
    )


def storage_unavailable() -> UpstreamError:
    """Return the error of an unreadable upload; it counts as no attempt."""
    return UpstreamError(
        "The uploaded audio cannot be read because storage does not respond.",
        code="storage_unavailable",
        failure=Failure.STORAGE,
    )


def timed_out() -> UpstreamError:
    """Return the error of a call that exceeded its total deadline."""
    return UpstreamError(
        "Deepgram did not respond within the deadline.",
        code="upstream_timeout",
        failure=Failure.TIMEOUT,
    )


def invalid_response(request_id: str) -> UpstreamError:
    """Return the error of a 200 response whose body is not JSON."""
    return UpstreamError(
        "Deepgram's response was truncated or is not JSON.",
        code="upstream_bad_answer",
        failure=Failure.UNAVAILABLE,
        status=200,
        request_id=request_id,
    )


def parse_retry_after(value: str) -> float | None:
    """Return the seconds of a Retry-After value (seconds or date, RFC 9110 §10.2.3)."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # the latter for a year of twenty digits
            return None
        seconds = (moment - timezone.now()).total_seconds() if moment.tzinfo else 0.0
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _parse_envelope(body: object) -> tuple[str, str]:
    """Return the code and the message of either envelope, or two empty strings."""
    if isinstance(body, bytes | str):
        try:
            body = loads_bounded(body, max_chars=MAX_ENVELOPE)
        except ValueError:
            return "", ""
    if not isinstance(body, dict):
        return "", ""
    fields: dict[str, Any] = body
    code = fields.get("err_code") or fields.get("error_code") or fields.get("category")
    message = fields.get("err_msg") or fields.get("message")
    return str(code or ""), str(message or "")


def _classify(status: int, code: str, message: str) -> tuple[Failure, str]:
    if code == "REMOTE_CONTENT_ERROR":
        return _classify_remote(message)
    if status == 400 and "corrupt or unsupported" in message:  # noqa: PLR2004
        return Failure.BAD_MEDIA, "audio_unreadable"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500 or status < 400 or status == 499:  # noqa: PLR2004
        return Failure.UNAVAILABLE, "upstream_unavailable"
    return Failure.BAD_OPTIONS, "upstream_refused_options"


def _classify_remote(message: str) -> tuple[Failure, str]:
    """Classify a failed fetch of the customer's URL by its text.

    A client error is final; anything else is retried.
    """
    if "client error: 403" in message:
        return Failure.BAD_MEDIA, "audio_url_expired"
    if "client error" in message or "publicly routable" in message:
        return Failure.BAD_MEDIA, "audio_url_refused"
    if "too many redirects" in message:
        return Failure.BAD_MEDIA, "audio_url_refused"
    return Failure.REMOTE_AUDIO, "audio_url_unreachable"

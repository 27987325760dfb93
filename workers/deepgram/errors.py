"""Deepgram's failures, and the SDK's ways of raising them, as our one UpstreamError.

Statuses and texts: https://developers.deepgram.com/docs/errors. Two envelopes exist
(``err_code``/``err_msg`` and ``category``/``message``), and gateways answer HTML.
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
    # "Unable to read the entire client request": the network, not the customer.
    422: (Failure.UNAVAILABLE, "upstream_upload_interrupted"),
    429: (Failure.RATE_LIMITED, "upstream_rate_limited"),
    504: (Failure.TOO_LONG, "upstream_processing_timeout"),
}
_ADVICE = {
    "audio_url_expired": "The audio URL was refused (403): a presigned URL has"
    " probably expired. Sign it for longer than the queue may be, or upload the file.",
    "upstream_processing_timeout": "Deepgram gave up after ten minutes of processing."
    " Split the audio and submit the parts.",
    "audio_unreadable": "The file is not audio that can be decoded.",
}


def from_answer(status: int, headers: Mapping[str, str], body: object) -> UpstreamError:
    """Map an HTTP answer that is not a result."""
    code, message = _envelope(body)
    failure, our_code = _judge(status, code, message)
    return UpstreamError(
        _ADVICE.get(our_code) or message or f"Deepgram answered {status}.",
        code=our_code,
        failure=failure,
        status=status,
        request_id=headers.get("dg-request-id", ""),
        retry_after=parse_retry_after(headers.get("retry-after", "")),
    )


def broken_off(cause: Exception) -> UpstreamError:
    """Map an exchange that did not end; whether it began decides if it is spent."""
    never_began = isinstance(
        cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout
    )
    return UpstreamError(
        f"The connection to Deepgram failed ({type(cause).__name__}).",
        code="upstream_unreachable" if never_began else "upstream_connection_lost",
        failure=Failure.UNREACHABLE if never_began else Failure.UNAVAILABLE,
    )


def storage_away() -> UpstreamError:
    """Say that an upload cannot be read now; what was sent of it is no call."""
    return UpstreamError(
        "The uploaded audio cannot be read: the file storage does not answer.",
        code="storage_unavailable",
        failure=Failure.STORAGE,
    )


def timed_out() -> UpstreamError:
    """Map a call that outlived its total deadline."""
    return UpstreamError(
        "Deepgram did not answer within the deadline.",
        code="upstream_timeout",
        failure=Failure.TIMEOUT,
    )


def unintelligible(request_id: str) -> UpstreamError:
    """Map a 200 whose body is not JSON."""
    return UpstreamError(
        "Deepgram's answer was cut off or is not JSON.",
        code="upstream_bad_answer",
        failure=Failure.UNAVAILABLE,
        status=200,
        request_id=request_id,
    )


def parse_retry_after(value: str) -> float | None:
    """Return seconds from a Retry-After (seconds or date, RFC 9110 §10.2.3)."""
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


def _envelope(body: object) -> tuple[str, str]:
    """Return the code and message of either envelope, or nothing."""
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


def _judge(status: int, code: str, message: str) -> tuple[Failure, str]:
    if code == "REMOTE_CONTENT_ERROR":
        return _judge_remote(message)
    if status == 400 and "corrupt or unsupported" in message:  # noqa: PLR2004
        return Failure.BAD_MEDIA, "audio_unreadable"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500 or status < 400 or status == 499:  # noqa: PLR2004
        return Failure.UNAVAILABLE, "upstream_unavailable"
    return Failure.BAD_OPTIONS, "upstream_refused_options"


def _judge_remote(message: str) -> tuple[Failure, str]:
    """Deepgram could not fetch the customer's URL; only its text says why.

    A client error is the customer's to mend; anything else may pass.
    """
    if "client error: 403" in message:
        return Failure.BAD_MEDIA, "audio_url_expired"
    if "client error" in message or "publicly routable" in message:
        return Failure.BAD_MEDIA, "audio_url_refused"
    if "too many redirects" in message:
        return Failure.BAD_MEDIA, "audio_url_refused"
    return Failure.REMOTE_AUDIO, "audio_url_unreachable"

"""Map Deepgram's errors, and the SDK's exceptions, to UpstreamError.

``errors.toml`` has the codes. Two envelopes exist (``err_code``/``err_msg`` and
``category``/``message``); gateways respond with HTML.
"""

import math
import tomllib
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
from django.utils import timezone

from jobs.backoff import Failure
from jobs.errors import UpstreamError
from jobs.parsing.bounded_json import loads_bounded

MAX_ENVELOPE = 64 * 1024
MAX_RETRY_AFTER_SECONDS = 3600

_TABLES: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text()
)
_CODES_BY_STATUS = {
    table["status"]: code for code, table in _TABLES.items() if "status" in table
}


def build_error(code: str, message: str = "", **details: Any) -> UpstreamError:
    """Return the error with this code; the message replaces that of the table.

    ``details`` are the other arguments of UpstreamError.
    """
    table = _TABLES[code]
    failure = Failure(table["failure"])
    text = message or table.get("message", "")
    return UpstreamError(text, code=code, failure=failure, **details)


def from_response(
    status: int, headers: Mapping[str, str], body: object
) -> UpstreamError:
    """Map an HTTP error response."""
    deepgram_code, message = _parse_envelope(body)
    code = _classify(status, deepgram_code, message)
    return build_error(
        code,
        _TABLES[code].get("message") or message or f"Deepgram responded with {status}.",
        status=status,
        request_id=headers.get("dg-request-id", ""),
        retry_after=parse_retry_after(headers.get("retry-after", "")),
    )


def from_exception(cause: Exception) -> UpstreamError:
    """Map a network error; one before the request was sent costs no attempt."""
    is_unsent = isinstance(
        cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout
    )
    return build_error(
        "upstream_unreachable" if is_unsent else "upstream_connection_lost",
        f"The connection to Deepgram failed ({type(cause).__name__}).",
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


def _classify(status: int, code: str, message: str) -> str:
    if code == "REMOTE_CONTENT_ERROR":
        return _classify_remote(message)
    if status == 400 and "corrupt or unsupported" in message:  # noqa: PLR2004
        return "audio_unreadable"
    if status in _CODES_BY_STATUS:
        return _CODES_BY_STATUS[status]
    if status >= 500 or status < 400 or status == 499:  # noqa: PLR2004
        return "upstream_unavailable"
    return "upstream_refused_options"


def _classify_remote(message: str) -> str:
    """Return the code of a failed fetch of the customer's URL by its text.

    A client error is final; anything else is retried.
    """
    if "client error: 403" in message:
        return "audio_url_expired"
    if "client error" in message or "publicly routable" in message:
        return "audio_url_refused"
    if "too many redirects" in message:
        return "audio_url_refused"
    return "audio_url_unreachable"
